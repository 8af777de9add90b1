"""DDP beside gloo: python -m regroup.bench.ddp --json F [--ranks 2,4] [--buckets 1,5,25,100] [--steps 8] [--rounds 3]

An MLP of 25 million parameters, batch 8, fp32, one thread a rank. Backends take turns in every round, in processes of their
own; inside one, kinds of steps take turns; figures are medians. `compute`: a step under no_sync(). `exposed`: what a step costs
more than that. `own`: the part of it that DDP itself makes, copying gradients into buckets and back (a hook that sends
nothing). `serial`: all-reduces of the same buckets with nothing beside them, that is without overlap: `exposed` less `own`,
below it, is what overlap leaves of it.
"""
import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time

from .._command import program


def worker(backend: str, bucket_mb: float, steps: int) -> None:
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel as DDP
    torch.set_num_threads(1)
    dist.init_process_group(backend)
    torch.manual_seed(0)
    width = 2048
    model = torch.nn.Sequential(*[m for _ in range(6) for m in (torch.nn.Linear(width, width), torch.nn.ReLU())])
    size = sum(p.numel() for p in model.parameters())
    ddp, silent = DDP(model, bucket_cap_mb=bucket_mb), DDP(model, bucket_cap_mb=bucket_mb)

    def nothing(_: object, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        sent: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        sent.set_result(bucket.buffer())
        return sent
    silent.register_comm_hook(None, nothing)
    optimizer = torch.optim.SGD(ddp.parameters(), lr=1e-4)
    data = torch.randn(8, width)

    def timed(wrapped: DDP, count: int) -> list[float]:
        times = []
        for _ in range(count):
            dist.barrier()
            begin = time.perf_counter()
            optimizer.zero_grad(set_to_none=False)
            wrapped(data).square().mean().backward()
            times.append(time.perf_counter() - begin)
        return times
    measured: dict[str, list[float]] = {"step": [], "own": [], "compute": []}
    for turn in range(5):
        for name, wrapped in (("step", ddp), ("own", silent), ("compute", ddp)):
            with ddp.no_sync() if name == "compute" else contextlib.nullcontext():
                times = timed(wrapped, max(1, steps // 4))
            if turn:
                measured[name] += times
    worst = torch.tensor([statistics.median(measured[name]) for name in ("step", "own", "compute")])
    dist.all_reduce(worst, op=dist.ReduceOp.MAX)
    with_comm, own, compute = worst.tolist()
    per_bucket = max(1, int(bucket_mb * (1 << 20) / 4))
    buckets = [torch.ones(min(per_bucket, size - at)) for at in range(0, size, per_bucket)]

    def all_buckets() -> float:
        dist.barrier()
        begin = time.perf_counter()
        for b in buckets:
            dist.all_reduce(b, op=dist.ReduceOp.SUM)
        return time.perf_counter() - begin
    serial = statistics.median(all_buckets() for _ in range(max(3, steps // 2)))
    if dist.get_rank() == 0:
        print("RESULT " + json.dumps({"step_s": with_comm, "compute_s": compute, "exposed_s": with_comm - compute, "own_s": own - compute,
                                      "serial_s": serial,
                                      "parameters": size}), flush=True)
    dist.barrier()
    dist.destroy_process_group()


def run(backend: str, ranks: int, bucket_mb: float, steps: int) -> dict:
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [program(), "run", "-n", str(ranks), "--quiet", "--no-prefix", "--timeout", "300", "--", sys.executable, "-m",
               "regroup.bench.ddp", "--worker", backend, "--buckets", str(bucket_mb), "--steps", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line[7:])
    raise SystemExit(f"regroup.bench.ddp: {backend}, {ranks} ranks gave no result:\n{done.stdout}{done.stderr}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    parser.add_argument("--ranks", default="2,4")
    parser.add_argument("--buckets", default="1,5,25,100", help="DDP's bucket_cap_mb")
    parser.add_argument("--backends", default="regroup,gloo")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.worker:
        return worker(a.worker, float(a.buckets), a.steps)
    rows = []
    for ranks in map(int, a.ranks.split(",")):
        for bucket in map(float, a.buckets.split(",")):
            rounds: dict[str, list[dict]] = {b: [] for b in a.backends.split(",")}
            for _ in range(a.rounds):
                for backend, results in rounds.items():
                    results.append(run(backend, ranks, bucket, a.steps))
            for backend, results in rounds.items():
                row = {"backend": backend, "ranks": ranks, "bucket_mb": bucket, "rounds": results}
                for key in ("step_s", "compute_s", "exposed_s", "own_s", "serial_s"):
                    row[key] = statistics.median(r[key] for r in results)
                rows.append(row)
                print(f"{backend:8} {ranks} ranks, bucket {bucket:g} MB: step {row['step_s'] * 1e3:7.1f} ms, compute "
                      f"{row['compute_s'] * 1e3:7.1f}, exposed {row['exposed_s'] * 1e3:7.1f} (DDP's own {row['own_s'] * 1e3:7.1f}), serial {row['serial_s'] * 1e3:7.1f}", flush=True)
    if a.json:
        with open(a.json, "w", encoding="utf-8") as file:
            json.dump({"rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
