#!/usr/bin/env python3
"""Runs ours and the peers on this machine, interleaved, each point between two near/far probes; writes
RESULTS/collectives.json, latency.json, overlap.json, recovery*.json, summary.json and plots, and prints the tables.

Peers' metric: time of a blocking fp32 collective (sum; all-reduce in place, the others out of place), the maximum over
ranks of a rank's mean, median over 9 sections; ours is told to do the same. Two points are compared only where both
their probes agree (bench/table.py). Standard library only; the plots need matplotlib and are left out without it."""
import argparse
import json
import os
import platform
import subprocess
import sys
import time

import cases
import plots
import table
import targets


def parse_size(text):
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(float(text[:-1]) * units[text[-1].upper()]) if text[-1].upper() in units else int(text)


def arguments(words=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default="build")
    p.add_argument("--results", default="bench/results")
    p.add_argument("--ops", default=",".join(cases.OPERATIONS), help="a comma list")
    p.add_argument("--sizes", default="4,64K,1M,16M,64M", help="of all_reduce")
    p.add_argument("--other-sizes", default="64K,1M,16M", help="of the other operations (all_reduce_inflight: 1M)")
    p.add_argument("--ranks", default="2,4")
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--only", default="", help="a comma list of implementations (default: all)")
    p.add_argument("--torch-python", default="", help="a python with torch, for gloo")
    p.add_argument("--kills", type=int, default=40, help="of each recovery run; 0: none")
    p.add_argument("--torchft", type=int, default=0, metavar="ROUNDS", help="also a killed replica and its return beside torchft's, by turns "
                   "(root, pip; half a minute a round, the first one installs it); writes torchft.json")
    p.add_argument("--no-own", action="store_true", help="without latency_perf and overlap_perf")
    p.add_argument("--targets", action="store_true", help="only the rows that are held to an aim (bench/targets.py), in about --rounds times "
                   "three minutes; writes targets.json")
    p.add_argument("--bounds", action="store_true", help="also the measured lower bounds (no commit, not designs)")
    args = p.parse_args(words)
    args.ops = args.ops.split(",")
    if unknown := set(args.ops) - set(cases.OPERATIONS):
        p.error(f"--ops {', '.join(sorted(unknown))}: not one of {', '.join(cases.OPERATIONS)}")
    return args


def sizes_of(args, operation):
    if operation == "all_reduce_inflight":
        return [1 << 20]
    return [parse_size(s) for s in (args.sizes if operation == "all_reduce" else args.other_sizes).split(",")]


def machine():
    facts = {"cores": len(os.sched_getaffinity(0)), "kernel": platform.release(), "time": time.strftime("%Y-%m-%d %H:%M:%S")}
    with open("/proc/cpuinfo") as file:
        facts["cpu"] = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "unknown")
    try:
        with open("/sys/kernel/mm/transparent_hugepage/shmem_enabled") as file:
            facts["shmem_huge_pages"] = file.read().split("[")[1].split("]")[0]
    except (OSError, IndexError):
        facts["shmem_huge_pages"] = "unknown"
    return facts


def write(folder, name, value):
    path = os.path.join(folder, name)
    with open(path, "w") as file:
        json.dump(value, file, indent=1)
        file.write("\n")


def run_points(runner, args):
    points, named = [], set()
    only = {name for name in args.only.split(",") if name}
    for turn in range(args.rounds):
        for operation in args.ops:
            for ranks in (int(n) for n in args.ranks.split(",")):
                for size in sizes_of(args, operation):
                    names = list(runner.implementations(operation, size))
                    named.update(names)
                    for name in names:
                        if only and name not in only:
                            continue
                        point = {"round": turn, **runner.point(name, operation, ranks, size)}
                        points.append(point)
                        shown = point.get("error") or f"{point['us']:.2f} us"
                        probes = "/".join(f"{p:.2f}" for p in point["probe_us"])
                        print(f"round {turn} {operation} {ranks} ranks {size:>9} B {name:34} {shown} (probe {probes})", flush=True)
    if only - named:
        sys.exit(f"suite.py: --only {', '.join(sorted(only - named))}: not one of {', '.join(sorted(named))}")
    return points


def run_own(runner, args):
    """latency_perf and overlap_perf per transport and number of ranks; the rows of all runs in one file each. False: one failed."""
    good = True
    for program, flags in (("latency_perf", ["-n", "5000"]), ("overlap_perf", [])):
        rows = []
        for ranks in args.ranks.split(","):
            for transport in ("shm", "tcp"):
                path = os.path.join(args.results, program + ".part")
                if os.path.exists(path):
                    os.remove(path)
                command = [os.path.join(runner.bin, program), "--ranks", ranks, "--transport", transport, "-J", path, *flags]
                command += ["--bind"] if int(ranks) <= runner.cores else []
                print(" ".join(command), flush=True)
                code = subprocess.run(command, timeout=300).returncode
                if code != 0:
                    print(f"suite.py: {program}: exit status {code}", file=sys.stderr)
                    good = False
                    continue
                with open(path) as file:
                    rows += json.load(file)["results"]
                os.remove(path)
        write(args.results, program.replace("_perf", ".json"), {"machine": machine(), "results": rows})
    return good


def run_recovery(runner, args):
    for name, flags in (("recovery", []), ("recovery-resident", ["--resident", "1G"]), ("recovery-stop", ["--sig", "STOP"])):
        kills = max(args.kills // 4, 1) if name == "recovery-stop" else args.kills
        path = os.path.join(args.results, name + ".json")
        if os.path.exists(path):
            os.remove(path)
        command = [os.path.join(runner.bin, "recovery_perf"), "--ranks", "4", "-b", "16M", "--kills", str(kills), "--json",
                   path, *flags]
        print(" ".join(command), flush=True)
        try:
            code = subprocess.run(command, timeout=120 + 6 * kills).returncode
        except subprocess.TimeoutExpired:
            code = "timeout"
        if code != 0:
            print(f"suite.py: {name}: {code}", file=sys.stderr)


def run_torchft(runner, args):
    """False: it could not be run. bench/peers/torchft/pair.py prints its own table."""
    here = os.path.dirname(os.path.abspath(__file__))
    command = [sys.executable, os.path.join(here, "peers", "torchft", "pair.py"), args.build, str(args.torchft), "--json",
               os.path.join(args.results, "torchft.json")]
    if args.torch_python and subprocess.run([args.torch_python, "-c", "import regroup.torch"], stderr=subprocess.DEVNULL).returncode == 0:
        command += ["--torch-python", args.torch_python]
    print(" ".join(command), flush=True)
    code = subprocess.run(command).returncode
    if code != 0:
        print(f"suite.py: torchft: exit status {code}", file=sys.stderr)
    return code == 0


def run_targets(runner, args):
    def say(point):
        shown = point.get("error") or f"{point['us']:.2f} us"
        print(f"round {point['round']} {point['name']:60} {shown} (probe {'/'.join(f'{p:.2f}' for p in point['probe_us'])})", flush=True)

    rows, points = targets.measure(runner, args.rounds, say)
    judged = targets.judge(rows, points)
    held = targets.memory(rows, points)
    write(args.results, "targets.json", {"machine": machine(), "judged": judged, "memory": held, "points": points})
    print(targets.markdown(judged))
    print(targets.memory_markdown(held))
    failed = [p["name"] for p in points if p.get("wrong", 0) or ("error" in p and "wrong" in p)]
    return 1 if failed else 0


def main():
    args = arguments()
    os.makedirs(args.results, exist_ok=True)
    runner = cases.Runner(args.build, args.torch_python, args.bounds)
    torchft = args.torchft == 0 or run_torchft(runner, args)
    if args.targets:
        return run_targets(runner, args) or not torchft
    points = run_points(runner, args)
    write(args.results, "collectives.json", {"machine": machine(), "points": points})
    write(args.results, "summary.json", table.summary(points))
    good = args.no_own or run_own(runner, args)
    if args.kills > 0:
        run_recovery(runner, args)
    print(table.markdown(args.results))
    if plots.available():
        for path in plots.draw_all(points, os.path.join(args.results, "plots")):
            print("written:", path)
    else:
        print("suite.py: no matplotlib here: no plots")
    failed = sum("error" in p or bool(p.get("wrong", 0)) for p in points if p["impl"].startswith("regroup"))
    if failed:
        print(f"suite.py: {failed} points of ours failed", file=sys.stderr)
    return 1 if failed or not good or not torchft else 0


if __name__ == "__main__":
    sys.exit(main())
