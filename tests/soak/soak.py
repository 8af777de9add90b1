#!/usr/bin/env python3
"""The long forms of the proof, in parts of at most 20 minutes: `make soak`, or soak.py BUILD [--list] [--parts A,B] [--minutes N].

A part that this commit has already passed is left out (--again repeats it), so a soak that was broken off goes on where it
was. What a part found is added to results.jsonl beside this file, with the commit; --table adds all of it up.
Exit status: 0 all asked for passed; 1 a part found something; 2 bad arguments.
"""
import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PART_BOUND_S = 1500  # 20 minutes and what it takes to begin and to end
SIM_CHUNK = 20_000

EXPLORE = {
    "two-changes": "--members 3 --views 2 --failures 1",
    "two-changes-net": "--members 3 --views 2 --failures 1 --plane net",
    "two-failures": "--members 3 --views 1 --failures 2 --faults crash,suspect",
    "two-of-each-crash": "--members 3 --views 2 --failures 2 --faults crash",
    "two-of-each-suspect": "--members 3 --views 2 --failures 2 --faults suspect",
    "window": "--members 3 --views 1 --failures 1 --window 2 --ops 3 --faults crash,suspect",
    "join": "--members 3 --join --views 0 --failures 1 --step 2",
    "leave": "--members 3 --asks leave --views 1 --failures 1",
    "walks": "--walks 0:200000",
}


def parts(build, fuzz_build):
    """name -> command; {json} stands for a file that the part writes."""
    bin_ = build / "bin"
    out = {}
    for name, args in EXPLORE.items():
        out["explore-" + name] = [bin_ / "explore", "--quiet", "--max-seconds", "1200", *args.split()]
    for i in range(10):
        out[f"sim-{i}"] = [bin_ / "regroup", "sim", "--seeds", f"{i * SIM_CHUNK}:{(i + 1) * SIM_CHUNK}", "--json", "{json}"]
    chaos = [bin_ / "regroup", "chaos", "--members", "8", "--json", "{json}"]
    for i in range(1, 5):
        out[f"chaos-{i}"] = [*chaos, "--seconds", "720", "--seed", str(100 + i)]
    out["chaos-partition"] = [*chaos, "--seconds", "360", "--seed", "21", "--arenas", "net", "--faults", "partition"]
    out["chaos-growth"] = [*chaos, "--seconds", "900", "--seed", "11", "--arenas", "shm", "--spare", "2"]
    for target in sorted(p.name.removeprefix("fuzz_") for p in (fuzz_build / "bin").glob("fuzz_*")):
        for half, seconds in ((1, 900), (2, 1800)):
            out[f"fuzz-{target}-{half}"] = [ROOT / "tests/fuzz/run.sh", fuzz_build, str(seconds), target]
    return out


def commit():
    def git(*args):
        return subprocess.run(["git", "-C", ROOT, *args], capture_output=True, text=True).stdout.strip()
    dirty = [line for line in git("status", "--porcelain", "-uno").splitlines() if "results.jsonl" not in line]
    return (git("rev-parse", "--short=10", "HEAD") or "unknown") + ("-dirty" if dirty else "")


def results(path):
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def figures(name, text, found):
    """What of a part's output is worth keeping."""
    if name.startswith("chaos"):
        keep = ("faults", "partition_kinds", "recovery_ms", "next_commit_ms", "ops", "redo_ms_p50", "false_suspicions", "wrong_results",
                "lost_steps", "hangs", "unexpected_ends", "growth", "skipped")
        return {key: found[key] for key in keep if key in found}
    if name.startswith("sim"):
        return {key: found[key] for key in ("seeds", "violations", "kinds") if key in found}
    if name.startswith("explore"):
        return {key: int(value) for key, value in re.findall(r"(states|steps|violations|stuck) (\d+)", text)} | {
            "says": text.strip().splitlines()[-1:]}
    return {"says": text.strip().splitlines()[-1:]}


def run(name, command, log):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "result.json"
        line = [str(file) if word == "{json}" else str(word) for word in command]
        print(f"soak: {time.strftime('%T')} {name}: {' '.join(line)}", flush=True)
        begin = time.monotonic()
        with open(log, "w+") as out:
            try:
                status = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                        timeout=PART_BOUND_S).returncode
            except subprocess.TimeoutExpired:
                status = 124
            out.seek(0)
            text = out.read()
        found = json.loads(file.read_text()) if file.exists() else {}
        wall = time.monotonic() - begin
    # The explorer ends with 2 where its time was over before the search was: nothing was found as far as it came.
    passed = status == 0 or (name.startswith("explore") and status == 2)
    print(f"soak: {time.strftime('%T')} {name}: {'passed' if passed else f'FAILED (status {status}), see {log}'}, {wall:.0f} s", flush=True)
    return {"part": name, "commit": commit(), "date": time.strftime("%F"), "wall_s": round(wall), "status": status, "passed": passed,
            "figures": figures(name, text, found)}


def table(rows):
    """All rows added up, as Markdown."""
    for r in rows:
        if not r["passed"]:
            print(f"Found something: {r['part']}, {r['commit']}, {r['date']}.\n")
    rows = [r for r in rows if r["passed"]]
    chaos = [r for r in rows if r["part"].startswith("chaos")]
    faults, sums, worst = collections.Counter(), collections.Counter(), collections.defaultdict(list)
    for r in chaos:
        f = r["figures"]
        faults.update(f.get("faults", {}))
        for key in ("ops", "wrong_results", "lost_steps", "hangs", "unexpected_ends", "false_suspicions"):
            sums[key] += f.get(key, 0)
        for kind, v in f.get("recovery_ms", {}).items():
            worst[kind].append((v["n"], v["p50"], v["p99"], v["max"]))
    if chaos:
        print(f"Chaos, {len(chaos)} parts, {sum(r['wall_s'] for r in chaos) // 60} min, commits {', '.join(sorted({r['commit'] for r in chaos}))}: "
              + ", ".join(f"{k} {v}" for k, v in faults.items()) + "; " + ", ".join(f"{k} {v}" for k, v in sums.items()) + ".\n")
        print("| fault | n | view p50 by part, ms | p99 by part | max |\n| --- | --- | --- | --- | --- |")
        for kind, values in sorted(worst.items()):
            print(f"| {kind} | {sum(v[0] for v in values)} | {', '.join(str(v[1]) for v in values)} | "
                  f"{', '.join(str(v[2]) for v in values)} | {max(v[3] for v in values)} |")
        for r in chaos:
            for g in r["figures"].get("growth", []):
                if g["to_s"] - g["from_s"] > 300:
                    print(f"\nGrowth ({r['part']}, {r['commit']}, {g['arena']}): rank {g['rank']} from {g['from_s']:.0f} to {g['to_s']:.0f} s, "
                          f"medians of tenths: MiB {g.get('rss_mib')}, peak {g['rss_mib_peak']}; descriptors {g.get('descriptors')}.")
    sims = [r for r in rows if r["part"].startswith("sim")]
    if sims:
        seeds = {r["part"]: r["figures"].get("seeds", 0) for r in sims}
        print(f"\nSimulator: {sum(seeds.values())} seeds, {sum(r['figures'].get('violations', 0) for r in sims)} violations, "
              f"{sum(r['wall_s'] for r in sims)} s, commits {', '.join(sorted({r['commit'] for r in sims}))}.")
    others = {r["part"]: r for r in rows if r["part"].startswith(("explore", "fuzz"))}
    if others:
        print("\n| part | commit | s | status | says |\n| --- | --- | --- | --- | --- |")
        for name, r in others.items():
            print(f"| {name} | {r['commit']} | {r['wall_s']} | {r['status']} | {' '.join(r['figures'].get('says', []))} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--fuzz-build", type=pathlib.Path, default=ROOT / "build-fuzz")
    parser.add_argument("--parts", help="names or beginnings of names, with commas (all)")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no part after this long")
    parser.add_argument("--again", action="store_true", help="also what this commit has passed")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--table", action="store_true", help="add up what all parts have found")
    parser.add_argument("--results", type=pathlib.Path, default=HERE / "results.jsonl")
    args = parser.parse_args()
    known = parts(args.build, args.fuzz_build)
    rows = results(args.results)
    if args.table:
        return table(rows)
    wanted = list(known)
    if args.parts:
        words = args.parts.split(",")
        strangers = [w for w in words if not any(name.startswith(w) for name in known)]
        if strangers:
            parser.error(f"no part '{strangers[0]}' (--list names them; fuzz parts want `make fuzz` to have been built)")
        wanted = [name for name in known if any(name.startswith(w) for w in words)]
    here = commit()
    done = {r["part"] for r in rows if r["passed"] and r["commit"] == here}
    if args.list:
        for name in wanted:
            print(f"{name:28} {'passed' if name in done else ''}")
        return None
    failed, begin = [], time.monotonic()
    logs = args.build / "soak"
    logs.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        if name in done and not args.again:
            continue
        if time.monotonic() - begin > args.minutes * 60:
            print(f"soak: {args.minutes:g} minutes are over; the rest is for the next run", flush=True)
            break
        row = run(name, known[name], logs / f"{name}.log")
        with open(args.results, "a") as out:
            out.write(json.dumps(row) + "\n")
        if not row["passed"]:
            failed.append(name)
    if failed:
        print(f"soak: found something: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
