#!/usr/bin/env python3
"""Runs ours and the peers on this machine, interleaved, each point between two near/far probes; writes
RESULTS/all_reduce.json, RESULTS/recovery*.json and RESULTS/summary.json, and prints the table. Standard library only.

Peers' metric: time of an in-place fp32 sum all-reduce, the maximum over ranks of a rank's mean, median over 9 sections;
ours is told to do the same. Two points are compared only where both their probes agree (bench/table.py)."""
import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time

import table

SECTIONS = 9
SECONDS = 0.3


def parse_size(text):
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(float(text[:-1]) * units[text[-1].upper()]) if text[-1].upper() in units else int(text)


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default="build")
    p.add_argument("--results", default="bench/results")
    p.add_argument("--sizes", default="4,64K,1M,16M,64M")
    p.add_argument("--ranks", default="2,4")
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--only", default="", help="a comma list of implementations (default: all)")
    p.add_argument("--torch-python", default="", help="a python with torch, for gloo")
    p.add_argument("--kills", type=int, default=40, help="of each recovery run; 0: none")
    p.add_argument("--bounds", action="store_true", help="also the measured lower bounds (no commit, not designs)")
    return p.parse_args()


class Runner:
    def __init__(self, args):
        self.args = args
        self.bin = os.path.join(args.build, "bin")
        self.peers = os.path.join(args.build, "peers")
        self.cores = len(os.sched_getaffinity(0))

    def output(self, command, timeout=180, env=None):
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout,
                              env=dict(os.environ, **(env or {})))
        return done.returncode, done.stdout, done.stderr

    def probe(self):
        return float(self.output([os.path.join(self.bin, "near_far")])[1] or 0)

    def ours(self, ranks, size, *flags):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "r.json")
            command = [os.path.join(self.bin, "all_reduce_perf"), "--ranks", str(ranks), "-b", str(size), "--reps",
                       str(SECTIONS), "--seconds", str(SECONDS), "-a", "3", "--in-place-only", "--no-probe", "-J", path]
            if ranks <= self.cores:
                command.append("--bind")
            code, _, errors = self.output(command + list(flags))
            if code != 0:
                return {"error": errors.strip()[-300:] or f"exit status {code}"}
            with open(path) as file:
                report = json.load(file)
        side = report["results"][0]["in_place"]
        return {"us": side["median"], "min_us": side["min"], "max_us": side["max"], "wrong": side["nwrong"],
                "transport": report["results"][0]["transport"], "huge_pages": report["config"]["huge_pages"]}

    def csv(self, command, env=None):
        """A peer's line: impl,op,ranks,bytes,min_us,median_us,max_us,algbw,busbw."""
        code, out, errors = self.output(command, env=env)
        for line in out.splitlines():
            words = line.split(",")
            if len(words) >= 9 and words[4] != "error" and "WRONG" not in line:
                return {"us": float(words[5]), "min_us": float(words[4]), "max_us": float(words[6])}
        return {"error": (out + errors).strip()[-300:] or f"exit status {code}"}

    def mpi(self, ranks, size, *flags):
        crowded = ranks > self.cores
        return self.csv(["mpirun.openmpi", "--allow-run-as-root", "--oversubscribe", "-np", str(ranks), "--bind-to",
                         "none" if crowded else "core", "--mca", "btl_base_warn_component_unused", "0", "--mca", "pml",
                         "ob1", "--mca", "mpi_yield_when_idle", "1" if crowded else "0", *flags,
                         os.path.join(self.peers, "mpi_coll"), "inplace", str(size), str(SECONDS)])

    def bound(self, ranks, size, kind):
        return self.csv([os.path.join(self.peers, "shm_bound"), str(ranks), str(size), kind, "1", "11"])

    def implementations(self):
        """name -> function of (ranks, size). The order is the order of a round."""
        out = {
            "ompi-shm": lambda n, s: self.mpi(n, s, "--mca", "btl", "vader,self"),
            "regroup-shm": lambda n, s: self.ours(n, s, "--transport", "shm"),
            "regroup-shm-registered": lambda n, s: self.ours(n, s, "--transport", "shm", "--registered"),
            "regroup-shm-registered-no-commit": lambda n, s: self.ours(n, s, "--transport", "shm", "--registered",
                                                                       "--no-commit"),
            "ompi-tcp": lambda n, s: self.mpi(n, s, "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "lo"),
            "regroup-tcp": lambda n, s: self.ours(n, s, "--transport", "tcp"),
        }
        if self.args.torch_python:
            here = os.path.dirname(os.path.abspath(__file__))
            out["gloo"] = lambda n, s: self.csv([self.args.torch_python, os.path.join(here, "peers", "gloo_coll.py"),
                                                 str(n), "allreduce", str(s), str(SECONDS)], {"LABEL": "gloo"})
        if self.args.bounds and os.path.exists(os.path.join(self.peers, "shm_bound")):
            for kind in ("zero", "zwaistnt", "pwaistnt"):
                out["bound-" + kind] = lambda n, s, kind=kind: self.bound(n, s, kind)
        only = [name for name in self.args.only.split(",") if name]
        if unknown := set(only) - set(out):
            sys.exit(f"suite.py: --only {', '.join(sorted(unknown))}: not one of {', '.join(out)}")
        return {name: run for name, run in out.items() if not only or name in only}

    def point(self, name, run, ranks, size):
        before = self.probe()
        try:
            result = run(ranks, size)
        except subprocess.TimeoutExpired:
            result = {"error": "timeout"}
        return {"impl": name, "ranks": ranks, "size": size, "probe_us": [before, self.probe()], **result}


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
    points = []
    for turn in range(args.rounds):
        for ranks in (int(n) for n in args.ranks.split(",")):
            for size in (parse_size(s) for s in args.sizes.split(",")):
                for name, run in runner.implementations().items():
                    if not args.only and name.endswith("no-commit") and size < 1 << 20:
                        continue  # noise below
                    point = {"round": turn, **runner.point(name, run, ranks, size)}
                    points.append(point)
                    shown = point.get("error") or f"{point['us']:.2f} us"
                    probes = "/".join(f"{p:.2f}" for p in point["probe_us"])
                    print(f"round {turn} {ranks} ranks {size:>9} B {name:34} {shown} (probe {probes})", flush=True)
    return points


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


def main():
    args = arguments()
    os.makedirs(args.results, exist_ok=True)
    runner = Runner(args)
    points = run_points(runner, args)
    write(args.results, "all_reduce.json", {"machine": machine(), "points": points})
    write(args.results, "summary.json", table.summary(points))
    if args.kills > 0:
        run_recovery(runner, args)
    print(table.markdown(args.results))
    failed = sum("error" in p or p.get("wrong", 0) for p in points if p["impl"].startswith("regroup"))
    if failed:
        print(f"suite.py: {failed} points of ours failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
