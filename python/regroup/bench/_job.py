"""One job of `regroup run` whose ranks are workers of a benchmark's own module and print a line `RESULT {json}` each."""
import json
import os
import subprocess
import sys

from .._command import program


def results_of(module: str, ranks: int, worker: list[str], options: tuple[str, ...] = (), expect: int = 0) -> list[dict]:
    """Runs `module --worker ...` as `ranks` ranks. SystemExit: not `expect` (0: all) results, or different `bits` among them."""
    environment = {**{k: v for k, v in os.environ.items() if not k.startswith("MASTER_")}, "OMP_NUM_THREADS": "1"}
    command = [program(), "run", "-n", str(ranks), *options, "--quiet", "--no-prefix", "--timeout", "120", "--", sys.executable,
               "-W", "ignore", "-m", module, "--worker", *worker]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    results = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if len(results) != (expect or ranks) or len({r["bits"] for r in results}) != 1:
        raise SystemExit(f"{module}: {len(results)} results of {expect or ranks}, or different bits:\n{done.stdout}{done.stderr}")
    return results
