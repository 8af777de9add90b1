#!/usr/bin/env python3
"""Regroup and torchft, run for run in alternation: three replicas, a 16 MiB all-reduce a step, 64 MiB of state, of which a
step changes 16 MiB, no computation. One replica is killed and comes back. Ours by C++ (catchup_perf) and, with --torch-python, by
regroup.torch.Elastic. Needs root (run.sh)."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def core(build):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "r.json")
        subprocess.run([os.path.join(build, "bin", "catchup_perf"), "--ranks", "3", "--state", "64M", "--touch", "16M", "--grad", "16M",
                        "--step-ms", "0", "--joins", "1", "--json", path], check=True, stdout=subprocess.DEVNULL, timeout=120)
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
    each = report["each"][0]
    return {"kill to commit": report["kill_to_commit_ms"], "steps thrown away": 0 if report["digests_equal"] else None,
            "longest gap at the join": max(each["gap_before"], each["gap_during"]), "ready to contributor": each["first_commit_ms"]}


def python(*command):
    """A program that prints bench.py's figures of one run as a JSON line."""
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, timeout=300)
    run = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    if "error" in run:
        raise RuntimeError(run["error"])
    return {"kill to commit": run["kill_to_commit_ms"], "steps thrown away": run["failed_steps"] + run["join_failed_steps"],
            "longest gap at the join": run["join_max_gap_survivors"], "ready to contributor": run["manager_to_participating"]}


def table(runs):
    lines = ["| min / median / max, ms | " + " | ".join(runs) + " |", "|" + " --- |" * (len(runs) + 1)]
    for key in ("kill to commit", "steps thrown away", "longest gap at the join", "ready to contributor"):
        cells = []
        for side in runs.values():
            values = [r[key] for r in side if r]
            cells.append(f"{min(values):.0f} / {statistics.median(values):.0f} / {max(values):.0f}" if values else "no result")
        lines.append(f"| {key} | " + " | ".join(cells) + " |")
    failed = [f"{name}: {side.count(None)} of {len(side)} runs" for name, side in runs.items() if None in side]
    return "\n".join(lines + (["No result: " + ", ".join(failed)] if failed else []))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("rounds", type=int, nargs="?", default=5)
    parser.add_argument("--torch-python", help="a python with torch and regroup")
    parser.add_argument("--json")
    a = parser.parse_args()
    sides = {"Regroup": lambda: core(a.build)}
    if a.torch_python:
        sides["Regroup, Elastic"] = lambda: python(a.torch_python, os.path.join(HERE, "elastic.py"))
    sides["torchft, join timeout 100 ms"] = lambda: python(os.path.join(HERE, "run.sh"), "--runs", "1", "--join-ms", "100")
    runs = {name: [] for name in sides}
    for turn in range(a.rounds):
        for name, run in sides.items():
            try:
                runs[name].append(run())
            except (RuntimeError, subprocess.SubprocessError) as e:
                print(e, file=sys.stderr)
                runs[name].append(None)
            print(turn, name, runs[name][-1], flush=True)
    print(table(runs))
    if a.json:
        with open(a.json, "w", encoding="utf-8") as file:
            json.dump(runs, file, indent=1)
    return 1 if any(None in side for side in runs.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
