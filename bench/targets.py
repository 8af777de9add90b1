"""The rows that are held to an aim (bench/suite.py --targets): each names what of ours is measured, the peers beside it and by
how much it must be faster. All points of a row are taken one after the other, in every round. Standard library only."""
import statistics

import table

M, K = 1 << 20, 1 << 10


class Row:
    """aims: peer -> least ratio peer / ours; far_aims: instead, in that state. most_us: bound of ours (near_only: in that state).
    least_rate: bound of `rate`, in per cent. in_flight: bytes, from which the bound of the runtime's memory follows."""

    def __init__(self, case, ours, aims, most_us=None, near_only=False, far_aims=None, least_rate=None, in_flight=0):
        self.case, self.ours, self.aims, self.most_us, self.in_flight = case, ours, aims, most_us, in_flight
        self.near_only, self.far_aims, self.least_rate = near_only, far_aims or {}, least_rate


def size_flag(size, ranks):
    return f"{table.size_text(size)}, {ranks} ranks"


def rows(runner):
    """-> (rows, points): points: name -> function that measures it. A point that several rows name is measured once a round."""
    points, out, in_flight = {}, [], {}
    registered, private, tcp = ["--transport", "shm", "--registered"], ["--transport", "shm"], ["--transport", "tcp"]

    def ours(op, size, ranks, what, *flags):
        name = f"{op} {size_flag(size, ranks)}, {what}"
        points[name] = lambda: runner.ours(op, ranks, size, *flags)
        in_flight[name] = size * (8 if op == "all_reduce_inflight" else 1)
        return name

    def ompi(op, size, ranks, btl="vader"):
        name = f"{op} {size_flag(size, ranks)}, Open MPI {'shm' if btl == 'vader' else 'tcp'}"
        extra = ["--mca", "btl_tcp_if_include", "lo"] if btl == "tcp" else []
        points[name] = lambda: runner.mpi(op, ranks, size, "--mca", "btl", f"{btl},self", *extra)
        return name

    def gloo(op, size, ranks):
        name = f"{op} {size_flag(size, ranks)}, gloo"
        if runner.torch_python:
            points[name] = lambda: runner.gloo(op, ranks, size)
        return name

    def add(mine, aims, **rest):
        out.append(Row(mine, mine, aims, in_flight=in_flight.get(mine, 0), **rest))

    cut, early = ["--cut", str(4 * M)], ["--output-scratch"]
    for ranks, whole, least in ((2, 4, 5), (4, 5, 7)):
        peer = ompi("all_reduce", 64 * M, ranks)
        add(ours("all_reduce", 64 * M, ranks, "registered", *registered), {peer: whole})
        aims = {peer: least}
        if ranks == 2:
            points["bound-zero 64 MiB"] = lambda: runner.bound(2, 64 * M, "zero")
            aims["bound-zero 64 MiB"] = 0.6
        add(ours("all_reduce", 64 * M, ranks, "registered, cut at 4 MiB", *registered, *cut), aims)
        add(ours("all_reduce", 64 * M, ranks, "registered, output scratch", *registered, *early), aims)
    add(ours("all_reduce", 64 * M, 2, "private", *private), {ompi("all_reduce", 64 * M, 2): 3})
    peer = ompi("all_reduce", M, 2)
    add(ours("all_reduce", M, 2, "registered", *registered), {peer: 1.5}, far_aims={peer: 4})
    add(ours("all_reduce", M, 2, "private", *private), {peer: 1}, far_aims={peer: 3})
    peer = ompi("all_reduce", 64 * K, 2)
    add(ours("all_reduce", 64 * K, 2, "registered", *registered), {peer: 1.3})
    add(ours("all_reduce", 64 * K, 2, "private", *private), {peer: 1.3})
    add(ours("all_reduce", 4, 2, "private", *private), {ompi("all_reduce", 4, 2): 1}, most_us=0.4, near_only=True)
    add(ours("all_reduce", 4, 4, "private", *private), {ompi("all_reduce", 4, 4): 1}, most_us=10)
    add(ours("all_reduce", 4 * K, 2, "private", *private), {ompi("all_reduce", 4 * K, 2): 1})
    for ranks, with_gloo in ((2, 1.5), (4, 1.3)):
        aims = {ompi("all_reduce", 64 * M, ranks, "tcp"): 1.5, gloo("all_reduce", 64 * M, ranks): with_gloo}
        if ranks == 2:
            points["bound-tcp 64 MiB"] = lambda: runner.tcp_bound(64 * M)
            aims["bound-tcp 64 MiB"] = 0  # to know: nothing but the bytes
        add(ours("all_reduce", 64 * M, ranks, "tcp", *tcp), aims)
    add(ours("all_reduce_inflight", M, 4, "tcp", *tcp), {ompi("all_reduce_inflight", M, 4, "tcp"): 1})
    for op, least in (("all_gather", 1.3), ("broadcast", 1.3), ("alltoall", 1.3), ("reduce_scatter", 3)):
        for ranks in (2, 4):
            aims = {ompi(op, 16 * M, ranks): least}
            if op != "reduce_scatter":
                aims[gloo(op, 16 * M, ranks)] = 3
            add(ours(op, 16 * M, ranks, "registered", *registered), aims)
            if op == "alltoall":
                add(ours(op, 16 * M, ranks, "registered, output scratch", *registered, *early), aims)
    for ranks in (2, 4):
        name = f"4 ops of 4 MiB in flight, {ranks} ranks, registered"
        points[name] = lambda ranks=ranks: runner.overlap(ranks, 16 * M, 4)
        add(name, {}, least_rate=90)
    for size in (M, 16 * M, 64 * M):
        off = ours("all_reduce", size, 2, "registered, no commit rule", *registered, "--no-commit")
        add(ours("all_reduce", size, 2, "registered", *registered), {off: 0.98})
    return out, points


def measure(runner, rounds, say):
    """All points of all rows, row by row so that what is compared stands side by side. -> (rows, list of points)"""
    table_rows, points = rows(runner)
    taken = []
    for turn in range(rounds):
        done = set()
        for row in table_rows:
            for name in (*row.aims, row.ours):
                if name in done or name not in points:
                    continue
                done.add(name)
                point = {"round": turn, "name": name, **runner.between_probes(points[name])}
                taken.append(point)
                say(point)
    return table_rows, taken


def medians(taken):
    """name -> state -> median of `us` (and of the other figures)"""
    lists = {}
    for point in taken:
        if "error" not in point:
            lists.setdefault(point["name"], {}).setdefault(table.state(point["probe_us"]), []).append(point)
    return {name: {state: {key: statistics.median(p[key] for p in ps) for key in ("us", "rate") if key in ps[0]}
                   for state, ps in states.items()} for name, states in lists.items()}


def judge(table_rows, taken):
    """A list of {case, probe, ours_us, peer, peer_us, ratio, aim, met}; one entry an aim and state in which both were seen."""
    seen, out = medians(taken), []
    for row in table_rows:
        for state, mine in seen.get(row.ours, {}).items():
            if state == "mixed":
                continue
            entry = {"case": row.case, "probe": state, "ours_us": mine["us"]}
            if row.most_us is not None and not (row.near_only and state != "near"):
                out.append({**entry, "peer": "time", "aim": f"at most {row.most_us} us", "met": mine["us"] <= row.most_us})
            if row.least_rate is not None:
                out.append({**entry, "peer": "one op of all bytes", "ratio": mine["rate"] / 100, "aim": row.least_rate / 100,
                            "met": mine["rate"] >= row.least_rate})
            for peer, least in row.aims.items():
                other = seen.get(peer, {}).get(state)
                if other is None:
                    continue
                aim = row.far_aims.get(peer, least) if state == "far" else least
                ratio = other["us"] / mine["us"]
                out.append({**entry, "peer": peer.split(", ", 2)[-1], "peer_us": other["us"], "ratio": ratio, "aim": aim, "met": ratio >= aim})
    return out


def markdown(judged):
    lines = ["| case | probe | ours | peer | peer's | times faster | aim | |", "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for e in judged:
        peer_us, ratio = (table.time_text(e["peer_us"]) if "peer_us" in e else ""), (f"{e['ratio']:.2f}" if "ratio" in e else "")
        lines.append(f"| {e['case']} | {e['probe']} | {table.time_text(e['ours_us'])} | {e['peer']} | {peer_us} | {ratio} | {e['aim']} | "
                     f"{'' if e['met'] else 'short'} |")
    return "\n".join([*lines, ""])


def memory(table_rows, taken):
    """(case, MiB that the runtime holds in a process, bound): 2 x the bytes in flight + 64 MiB."""
    most = {}
    for point in taken:
        if "runtime_mib" in point:
            most[point["name"]] = max(point["runtime_mib"], most.get(point["name"], 0))
    return [(row.case, most[row.ours], 2 * row.in_flight / M + 64) for row in {r.ours: r for r in table_rows}.values() if row.ours in most]


def memory_markdown(held):
    return "\n".join(["| memory of the runtime, a process | MiB | at most | |", "| --- | --- | --- | --- |",
                      *(f"| {case} | {mib:.0f} | {most:.0f} | {'' if mib <= most else 'short'} |" for case, mib, most in held), ""])
