"""SIGKILL of one of three replicas under DDP: python -m regroup.bench.kill [--kills 12] [--steps 60] [--json F]

Every run is one job of `regroup run` in which a rank (they take turns) is killed in the middle of a backward. A survivor's
figures: `recovery`, its longest step from the kill on less its median step before; steps made, and how many were lost (a step
is lost where its body had to be done again or nobody's gradients counted). `mean`: loss before and behind the kill.
"""
import argparse
import json
import os
import statistics
import time

from ._job import results_of

RANKS = 3


def worker(victim: int, at: int, steps: int) -> None:
    import hashlib
    import signal
    import threading

    import torch
    import torch.distributed as dist
    import regroup.torch
    from torch.nn.parallel import DistributedDataParallel as DDP
    torch.set_num_threads(1)
    dist.init_process_group("regroup", init_method="regroup://")
    rank = dist.get_rank()
    torch.manual_seed(0)
    width = 512
    model = DDP(torch.nn.Sequential(*[m for _ in range(6) for m in (torch.nn.Linear(width, width), torch.nn.Tanh())]), bucket_cap_mb=1)
    model.register_comm_hook(None, regroup.torch.ddp_hook)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    data = torch.Generator().manual_seed(rank)
    target = torch.randn(width, width, generator=torch.Generator().manual_seed(9)) / width ** 0.5
    times, losses, contributors = [], [], []
    for step in range(steps):
        x = torch.randn(16, width, generator=data)
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=False)
        loss = (model(x) - (x @ target).tanh()).square().mean()
        if rank == victim and step == at:
            threading.Timer(0.5 * statistics.median(times) / 2, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
        loss.backward()
        contributors.append(len(regroup.torch.contributors()))
        optimizer.step()
        times.append(time.perf_counter() - begin)
        losses.append(loss.item())
    bits = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest()
    usual = statistics.median(times[5:at])
    print("RESULT " + json.dumps({
        "rank": rank, "usual_ms": usual * 1e3, "recovery_ms": (max(times[at:at + 5]) - usual) * 1e3,
        "worst_before_ms": (max(times[5:at]) - usual) * 1e3, "steps": len(times),
        "lost": sum(c < RANKS - 1 for c in contributors), "after": contributors[-1], "bits": bits,
        "loss": [statistics.mean(losses[at - 10:at]), statistics.mean(losses[-10:])]}), flush=True)
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--json")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.worker:
        victim, at = map(int, a.worker.split(","))
        return worker(victim, at, a.steps)
    rows = []
    for kill in range(a.kills):
        victim = f"{kill % RANKS},{a.steps // 2 + kill % 5}"
        results = results_of("regroup.bench.kill", RANKS, [victim, "--steps", str(a.steps)], expect=RANKS - 1)
        rows += [{"kill": kill, "victim": kill % RANKS, **r} for r in results]
        print(f"kill {kill} of rank {kill % RANKS}: step {results[0]['usual_ms']:.1f} ms, recovery "
              + ", ".join(f"{r['recovery_ms']:.1f}" for r in results) + " ms", flush=True)
    recovery = sorted(r["recovery_ms"] for r in rows)
    print(f"{a.kills} kills: recovery p50 {statistics.median(recovery):.1f}, max {recovery[-1]:.1f} ms; usual step "
          f"{statistics.median(r['usual_ms'] for r in rows):.1f} ms, its longest before a kill +{max(r['worst_before_ms'] for r in rows):.1f}; "
          f"steps made {min(r['steps'] for r in rows)} of {a.steps}, lost {sum(r['lost'] for r in rows)}; same bits at both survivors")
    if a.json:
        with open(a.json, "w", encoding="utf-8") as file:
            json.dump({"rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
