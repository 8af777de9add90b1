"""Ranks as real processes under `regroup run`, each running a function's source of the test file."""
import inspect
import json
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


class Forks:
    """forks.py, started by the first who needs it."""
    process = None

    def __call__(self, function, ranks, *args, timeout=60, environment=None, check=True, lives=0):
        """Runs `function` (its source, self-contained; or source) in every rank, which finds the others as under torchrun, or
        (lives) as under `regroup run`, where a killed one is started again until it has had so many lives. Returns what all have printed; check: all must have ended well."""
        if self.process is None:
            clean = {k: v for k, v in os.environ.items() if not k.startswith(("REGROUP_", "MASTER_"))}
            self.process = subprocess.Popen([sys.executable, "-B", "-W", "ignore", os.path.join(os.path.dirname(__file__), "forks.py")],
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                            env={**clean, "OMP_NUM_THREADS": "1"})
        code = function if isinstance(function, str) else \
            textwrap.dedent(inspect.getsource(function)) + f"\n{function.__name__}(*{args!r})\n"
        job = {"code": code, "ranks": ranks, "environment": environment or {}, "timeout": timeout, "lives": lives}
        print(json.dumps(job), file=self.process.stdin, flush=True)
        done = json.loads(self.process.stdout.readline())
        if check:
            assert done["codes"] == [0] * ranks, done
        return done["output"]


@pytest.fixture(scope="session")
def forked():
    forks = Forks()
    yield forks
    if forks.process is not None:
        forks.process.stdin.close()
        forks.process.wait(10)
