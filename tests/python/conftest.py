"""Ranks as real processes under `regroup run`, each running a function's source of the test file."""
import inspect
import os
import subprocess
import sys
import textwrap

import pytest
from regroup._command import program


def run_ranks(function, ranks=2, *, args=(), timeout=60, run=(), environment=None, check=True):
    """Runs `function` (its source, self-contained) in every rank. Returns the finished process."""
    source = textwrap.dedent(inspect.getsource(function)) + f"\n{function.__name__}(*{tuple(args)!r})\n"
    command = [program(), "run", "-n", str(ranks), "--timeout", str(timeout), *run, "--", sys.executable, "-c", source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout + 30,
                          env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})})
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def ranks():
    return run_ranks
