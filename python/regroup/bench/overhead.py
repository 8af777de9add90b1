"""What a call costs beside the collective itself: regroup run -n 1 -- python -m regroup.bench.overhead [--calls N]

Four bytes, so that a call is all there is; one rank shows the binding alone (latency_perf of the C++ benches under the same
launcher is what to take off), two show it beside an exchange. Figures are the least and the median of nine rounds.
"""
import argparse
import os
import statistics
import time
import typing as t

import numpy as np
import regroup


def rounds(call: t.Callable[[], t.Any], calls: int) -> tuple[float, float]:
    times = []
    for _ in range(9):
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        times.append((time.perf_counter() - begin) / calls * 1e6)
    return min(times), statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    calls = parser.parse_args().calls
    measured: dict[str, tuple[float, float]] = {}
    array = np.zeros(1, "f4")
    with regroup.join(group=os.environ.get("REGROUP_GROUP", "default") + "/overhead") as group:
        rank = group.rank
        measured["numpy: all_reduce"] = rounds(lambda: group.all_reduce(array), calls)
        measured["numpy: all_reduce_async, wait"] = rounds(lambda: group.all_reduce_async(array).wait(), calls)
    try:
        import torch
        import torch.distributed as dist
    except ImportError:
        torch = None
    if torch is not None:
        dist.init_process_group("regroup", init_method="regroup://")
        world, tensor, options = dist.group.WORLD, torch.zeros(1), dist.AllreduceOptions()
        backend = world._get_backend(torch.device("cpu"))
        measured["torch: the backend alone"] = rounds(lambda: backend.allreduce([tensor], options).wait(), calls)
        measured["torch: ProcessGroup.allreduce"] = rounds(lambda: world.allreduce([tensor], options).wait(), calls)
        measured["torch: dist.all_reduce"] = rounds(lambda: dist.all_reduce(tensor), calls)
        dist.destroy_process_group()
    if rank == 0:
        for name, (least, median) in measured.items():
            print(f"{name:30} {least:8.2f} us, median {median:8.2f}", flush=True)


if __name__ == "__main__":
    main()
