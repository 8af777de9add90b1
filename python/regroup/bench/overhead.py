"""What a call costs beside the collective itself: regroup run -n 1 -- python -m regroup.bench.overhead [--calls N] [--rounds N]

Four bytes, so that a call is all there is. torch's own backend "fake", which does nothing, takes turns with ours in every
round: ours less fake's at the same level is what we add, the collective of one rank included (0.3 us in C++: latency_perf).
Medians over rounds, and their quartiles. Two ranks (-n 2) show it beside an exchange.
"""
import argparse
import os
import statistics
import time
import typing as t

import numpy as np
import regroup


def measure(calls: dict[str, t.Callable[[], t.Any]], count: int, rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            begin = time.perf_counter()
            for _ in range(count):
                call()
            times[name].append((time.perf_counter() - begin) / count * 1e6)
    return {name: sorted(list_[1:]) for name, list_ in times.items()}


def torch_calls() -> dict[str, t.Callable[[], t.Any]]:
    import torch
    import torch.distributed as dist
    import torch.testing._internal.distributed.fake_pg  # noqa: F401  (registers "fake")
    dist.init_process_group("regroup", init_method="regroup://")
    world = dist.group.WORLD
    fake = dist.new_group(backend="fake") if dist.get_world_size() == 1 else None
    tensor, later, now = torch.zeros(1), dist.AllreduceOptions(), dist.AllreduceOptions()
    now.asyncOp = False
    calls: dict[str, t.Callable[[], t.Any]] = {}
    for name, group in (("regroup", world), ("fake", fake)):
        if group is None:
            continue
        backend = group._get_backend(torch.device("cpu"))
        calls[f"{name}: backend.allreduce, wait"] = lambda backend=backend: backend.allreduce([tensor], now).wait()
        calls[f"{name}: the same, asynchronous"] = lambda backend=backend: backend.allreduce([tensor], later).wait()
        calls[f"{name}: ProcessGroup.allreduce, wait"] = lambda group=group: group.allreduce([tensor], now).wait()
        calls[f"{name}: dist.all_reduce"] = lambda group=group: dist.all_reduce(tensor, group=group)
    return calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=25)
    a = parser.parse_args()
    array = np.zeros(1, "f4")
    with regroup.join(group=os.environ.get("REGROUP_GROUP", "default") + "/overhead") as group:
        calls = {"numpy: all_reduce": lambda: group.all_reduce(array),
                 "numpy: all_reduce_async, wait": lambda: group.all_reduce_async(array).wait()}
        try:
            import torch.distributed as dist
            calls.update(torch_calls())
        except ImportError:
            dist = None
        measured, rank = measure(calls, a.calls, a.rounds), group.rank
        if dist is not None:
            dist.destroy_process_group()
    if rank != 0:
        return
    for name, times in measured.items():
        quarter = len(times) // 4
        line = f"{name:40} median {statistics.median(times):6.2f} us, quartiles {times[quarter]:6.2f} {times[-1 - quarter]:6.2f}"
        floor = measured.get(name.replace("regroup:", "fake:"))
        if name.startswith("regroup:") and floor:
            line += f", over fake {statistics.median(times) - statistics.median(floor):5.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
