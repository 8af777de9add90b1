#!/usr/bin/env python3
"""plots.py [RESULTS]: bus bandwidth and time against size as SVG, one picture per operation, transport and number of
ranks, ours and the peers', from RESULTS/collectives.json into RESULTS/plots. Drawing needs matplotlib (Debian's
python3-matplotlib); what is drawn is made here with the standard library."""
import json
import os
import statistics
import sys

import cases
import table

LINES = {"shm": ("ompi-shm", "gloo", "regroup-shm", "regroup-shm-registered", "regroup-shm-registered-cut"),
         "tcp": ("ompi-tcp", "gloo", "regroup-tcp")}


def available():
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def series(points, operation, transport, ranks):
    """impl -> sorted list of (size, median us, bus bandwidth GB/s) over the rounds; only sizes that did not fail."""
    times = {}
    for p in points:
        if "error" not in p and (p["op"], p["ranks"]) == (operation, ranks) and p["impl"] in LINES[transport]:
            times.setdefault(p["impl"], {}).setdefault(p["size"], []).append(p["us"])
    factor = cases.bus_factor(operation, ranks)
    out = {}
    for impl in LINES[transport]:
        by_size = {size: statistics.median(us) for size, us in sorted(times.get(impl, {}).items())}
        if by_size:
            out[impl] = [(size, us, factor * size / us / 1e3) for size, us in by_size.items()]
    return out


def pictures(points):
    """(operation, transport, ranks) of every picture that has at least two sizes."""
    out = []
    for operation in dict.fromkeys(p["op"] for p in points):
        for transport in LINES:
            for ranks in sorted({p["ranks"] for p in points}):
                lines = series(points, operation, transport, ranks)
                if any(len(line) > 1 for impl, line in lines.items() if impl.startswith("regroup")):
                    out.append((operation, transport, ranks))
    return out


def states(points, operation, ranks):
    """How many points were taken in which state of the machine."""
    found = [table.state(p["probe_us"]) for p in points if (p["op"], p["ranks"]) == (operation, ranks)]
    return ", ".join(f"{name} {found.count(name)}" for name in ("near", "far", "mixed") if name in found)


def draw(points, operation, transport, ranks, path):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "regroup"  # the same points give the same file
    from matplotlib import pyplot

    figure, (bandwidth, latency) = pyplot.subplots(1, 2, figsize=(11, 4))
    for impl, line in series(points, operation, transport, ranks).items():
        sizes = [size for size, _, _ in line]
        style = {"label": table.TITLES[impl], "marker": "o", "linestyle": "-" if impl.startswith("regroup") else "--"}
        bandwidth.plot(sizes, [bus for _, _, bus in line], **style)
        latency.plot(sizes, [us for _, us, _ in line], **style)
    for axes, what in ((bandwidth, "bus bandwidth, GB/s"), (latency, "time, µs")):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log" if axes is latency else "linear")
        axes.set_xlabel("size")
        axes.set_ylabel(what)
        axes.xaxis.set_major_formatter(lambda size, _: table.size_text(int(size)))
        axes.tick_params(axis="x", labelrotation=30)
        axes.grid(True, alpha=0.3)
    bandwidth.legend(fontsize="small")
    figure.suptitle(f"{operation}, {transport}, {ranks} ranks, fp32 (points: {states(points, operation, ranks)})")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def draw_all(points, folder):
    os.makedirs(folder, exist_ok=True)
    paths = []
    for operation, transport, ranks in pictures(points):
        paths.append(os.path.join(folder, f"{operation}_{transport}_{ranks}.svg"))
        draw(points, operation, transport, ranks, paths[-1])
    return paths


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else "bench/results"
    if not available():
        sys.exit("plots.py: error: matplotlib is missing (Debian: python3-matplotlib)")
    with open(os.path.join(folder, "collectives.json")) as file:
        points = json.load(file)["points"]
    for path in draw_all(points, os.path.join(folder, "plots")):
        print(path)


if __name__ == "__main__":
    main()
