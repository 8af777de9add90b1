#!/usr/bin/env python3
"""table.py [RESULTS]: the results of bench/suite.py as markdown tables for the README. Standard library only.

Points are grouped by the state of the machine: "near" (both probes below 0.12 us: the cores share a cache), "far" (both
above 0.16: 0.20 to 0.30 on the machines seen), "mixed" (neither: no ratio). A ratio is made only within one state."""
import json
import os
import statistics
import sys

NEAR_US, FAR_US = 0.12, 0.16
OURS = ["regroup-shm", "regroup-shm-registered", "regroup-shm-registered-cut", "regroup-tcp"]
PEERS = {"regroup-shm": ["ompi-shm", "gloo"], "regroup-shm-registered": ["ompi-shm", "gloo"],
         "regroup-shm-registered-cut": ["ompi-shm", "gloo"], "regroup-tcp": ["ompi-tcp", "gloo"]}
TITLES = {"ompi-shm": "Open MPI shm", "ompi-tcp": "Open MPI tcp", "gloo": "gloo", "regroup-shm": "Regroup shm, private",
          "regroup-shm-registered": "Regroup shm, registered", "regroup-shm-registered-cut": "Regroup shm, registered, cut at 4 MiB", "regroup-tcp": "Regroup tcp",
          "regroup-shm-registered-no-commit": "the same without the commit rule"}


def state(probes):
    if all(p < NEAR_US for p in probes):
        return "near"
    return "far" if all(p > FAR_US for p in probes) else "mixed"


def size_text(size):
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def time_text(us):
    if us >= 1000:
        return f"{us / 1000:.1f} ms" if us < 99_950 else f"{us / 1000:.0f} ms"
    return f"{us:.2f} µs" if us < 10 else f"{us:.1f} µs" if us < 100 else f"{us:.0f} µs"


def grouped(points):
    """(operation, ranks, size, state) -> impl -> {us: median of medians, min_us, max_us, n}"""
    lists = {}
    for p in points:
        if "error" not in p:
            lists.setdefault((p["op"], p["ranks"], p["size"], state(p["probe_us"])), {}).setdefault(p["impl"], []).append(p)
    return {key: {impl: {"us": statistics.median(p["us"] for p in ps), "min_us": min(p["min_us"] for p in ps),
                         "max_us": max(p["max_us"] for p in ps), "n": len(ps)} for impl, ps in impls.items()}
            for key, impls in lists.items()}


def summary(points):
    """A list of {case, ours_us, peer, peer_us, ratio, probe}: ratio above 1 means that ours is faster."""
    out = []
    for (op, ranks, size, probe), impls in sorted(grouped(points).items()):
        if probe == "mixed":  # no state: the machine changed while a point was taken
            continue
        for ours in OURS:
            for peer in PEERS[ours]:
                if ours in impls and peer in impls:
                    a, b = impls[ours]["us"], impls[peer]["us"]
                    out.append({"case": f"{op} {size_text(size)} {ranks} ranks {ours}", "ours_us": a, "peer": peer,
                                "peer_us": b, "ratio": b / a, "probe": probe})
    return out


def commit_cost(points):
    """Rows of (case, on, off, share) for the commit rule."""
    rows = []
    for (_, ranks, size, probe), impls in sorted(grouped(points).items()):
        on, off = impls.get("regroup-shm-registered"), impls.get("regroup-shm-registered-no-commit")
        if on and off:
            rows.append(f"| {size_text(size)}, {ranks} ranks, {probe} | {time_text(on['us'])} | {time_text(off['us'])} | "
                        f"{100 * (on['us'] / off['us'] - 1):+.1f} % |")
    return ["| all-reduce | commit rule on | off | difference |", "| --- | --- | --- | --- |", *rows, ""] if rows else []


def cell(entry):
    if entry is None:
        return ""
    return f"{time_text(entry['us'])} ({time_text(entry['min_us'])} – {time_text(entry['max_us'])})"


def operation_tables(points):
    """A table an operation."""
    lines = []
    for op in dict.fromkeys(p["op"] for p in points):
        of_op = [p for p in points if p["op"] == op]
        impls = [i for i in ("ompi-shm", *OURS[:3], "ompi-tcp", "gloo", "regroup-tcp") if any(p["impl"] == i for p in of_op)]
        lines += [f"| {op}, fp32 | probe | " + " | ".join(TITLES[i] for i in impls) + " |", "| --- | --- |" + " --- |" * len(impls)]
        for (_, ranks, size, probe), entries in sorted(grouped(of_op).items()):
            lines.append(f"| {size_text(size)}, {ranks} ranks | {probe} | " + " | ".join(cell(entries.get(i)) for i in impls) + " |")
        lines.append("")
    return lines


def recovery_table(folder):
    lines = []
    for name in sorted(os.listdir(folder)):
        if not (name.startswith("recovery") and name.endswith(".json")):
            continue
        with open(os.path.join(folder, name)) as file:
            r = json.load(file)
        k = r["kill_to_commit_ms"]
        what = f"{r['kills']} × SIG{r['signal']}, {r['ranks']} ranks, {size_text(r['bytes'])}"
        if r["resident"]:
            what += f", {size_text(r['resident'])} resident"
        pages = "2 MiB" if r["machine"]["huge_pages"] else "4 KiB"
        lines.append(f"| {what} | {pages} | {k['p50']:.1f} | {k['p99']:.1f} | {k['max']:.1f} | {r['op_ms_p50']:.1f} | "
                     f"{r['lost_steps']} | {r['wrong_results']} |")
    head = ["| recovery | pages | p50 ms | p99 ms | max ms | op p50 ms | lost steps | wrong results |", "| --- |" + " --- |" * 7]
    return head + lines + [""] if lines else []


def markdown(folder):
    lines = []
    path = os.path.join(folder, "collectives.json")
    if os.path.exists(path):
        with open(path) as file:
            report = json.load(file)
        m, points = report["machine"], report["points"]
        lines += [f"{m['cpu']}, {m['cores']} cores, Linux {m['kernel']}; medians, with minimum and maximum.", ""]
        lines += operation_tables(points)
        ratios = [f"| {s['case']} | {s['probe']} | {s['peer']} | {s['ratio']:.2f} |" for s in summary(points)]
        if ratios:
            lines += ["| case | probe | peer | times faster |", "| --- | --- | --- | --- |", *ratios, ""]
        lines += commit_cost(points)
    return "\n".join(lines + recovery_table(folder))


if __name__ == "__main__":
    print(markdown(sys.argv[1] if len(sys.argv) > 1 else "bench/results"))
