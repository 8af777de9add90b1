#!/usr/bin/env python3
"""The other side of bench.py, by regroup.torch.Elastic: three replicas, an all-reduce of 16 MiB a step, 64 MiB of state, of which a
step changes 16, no computation; one is killed and started again. `elastic.py [--runs N]` prints a JSON line a run, with
bench.py's names. Needs the Python of an environment that has regroup and torch."""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

RANKS, VICTIM, KILL_STEP, STEPS_AFTER = 3, 2, 60, 60
MIB = 1 << 18  # elements


def worker(folder):
    imported = time.monotonic_ns()
    import regroup.torch
    import torch
    import torch.distributed as dist
    torch.set_num_threads(1)
    dist.init_process_group("regroup", init_method="regroup://", pg_options={"elastic": True})
    rank, killed = dist.get_rank(), os.path.join(folder, "killed")
    again = rank == VICTIM and os.path.exists(killed)

    class State(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.zeros(16 * MIB))
            self.register_buffer("rest", torch.zeros(48 * MIB))
    model = State()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    elastic = regroup.torch.Elastic(model=model, optimizer=optimizer, update=optimizer.step)
    model.w.grad = torch.zeros_like(model.w)
    steps, ready, until = [], time.monotonic_ns(), None
    for step in elastic.steps(1_000_000):
        if rank == VICTIM and not again and step == KILL_STEP:
            def end():
                with open(killed, "w", encoding="utf-8") as file:
                    file.write(str(time.monotonic_ns()))
                os.kill(os.getpid(), signal.SIGKILL)
            threading.Timer(0.5 * statistics.median(b[0] - a[0] for a, b in zip(steps, steps[1:])) / 1e9, end).start()
        if step > KILL_STEP and until is None and os.path.exists(killed) and len(elastic.members) == RANKS:
            until = step + STEPS_AFTER
        if step == until:
            break
        model.w.grad.fill_(1.0)
        elastic.average(model)
        elastic.update()
        steps.append((time.monotonic_ns(), len(regroup.torch.contributors())))
    with open(os.path.join(folder, f"{rank}.json"), "w", encoding="utf-8") as file:
        json.dump({"steps": steps, "ready": ready, "imported": imported, "sum": model.w.detach()[:4].tolist(), "step": elastic.step}, file)
    os._exit(0)


def one():
    with tempfile.TemporaryDirectory() as folder:
        from regroup._command import program
        environment = {**{k: v for k, v in os.environ.items() if not k.startswith(("MASTER_", "REGROUP_"))}, "OMP_NUM_THREADS": "1"}
        subprocess.run([program(), "run", "-n", str(RANKS), "--restart", "--quiet", "--no-prefix", "--timeout", "240", "--", sys.executable,
                        "-W", "ignore", os.path.abspath(__file__), "--worker", folder], check=True, env=environment, timeout=270)
        told = []
        for rank in range(RANKS):
            with open(os.path.join(folder, f"{rank}.json"), encoding="utf-8") as file:
                told.append(json.load(file))
        with open(os.path.join(folder, "killed"), encoding="utf-8") as file:
            killed = int(file.read())
    back, survivors = told[VICTIM], [t for r, t in enumerate(told) if r != VICTIM]
    if len({json.dumps(t["sum"]) for t in told}) != 1:
        raise SystemExit("elastic.py: the replicas differ")
    first = back["steps"][0][0]
    commits = [min(t for t, _ in s["steps"] if t > killed) for s in survivors]
    gaps = [b[0] - a[0] for s in survivors for a, b in zip(s["steps"], s["steps"][1:]) if back["ready"] - 2e9 < b[0] < first + 2e8 and a[0] > killed]
    usual = [b[0] - a[0] for s in survivors for a, b in zip(s["steps"][5:], s["steps"][6:]) if b[0] < killed]
    return {"step_ms": statistics.median(usual) / 1e6, "kill_to_commit_ms": (max(commits) - killed) / 1e6,
            "failed_steps": max(s["step"] - len(s["steps"]) for s in survivors), "join_failed_steps": 0,
            "join_max_gap_survivors": max(gaps) / 1e6, "manager_to_participating": (first - back["ready"]) / 1e6}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.worker:
        return worker(a.worker)
    for _ in range(a.runs):
        print(json.dumps(one()), flush=True)


if __name__ == "__main__":
    main()
