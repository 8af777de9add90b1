"""A killed rank that comes back under Elastic: python -m regroup.bench.rejoin [--turns 3] [--width 1024] [--json F]

Three ranks, DDP, Adam; one is killed and comes back. By replay (update=) and by the broadcast that all wait for, in turns.
`gap`: a survivor's longest step from the new process's first sign of life to its first step, less the median step before the
kill. `replayed`: steps that the others made meanwhile.
"""
import argparse
import json
import os
import statistics
import tempfile
import time

from ._job import results_of


def worker(kind: str, width: int, folder: str) -> None:
    import hashlib
    import signal

    import torch
    import torch.distributed as dist
    import regroup.torch
    torch.set_num_threads(1)
    dist.init_process_group("regroup", init_method="regroup://", pg_options={"elastic": True})
    flag, seen, back = (os.path.join(folder, n) for n in ("killed", "seen", "back"))
    again = dist.get_rank() == 1 and os.path.exists(flag)
    torch.manual_seed(0)
    model = torch.nn.Sequential(*[m for _ in range(4) for m in (torch.nn.Linear(width, width), torch.nn.Tanh())])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    replay = kind == "replay"
    elastic = regroup.torch.Elastic(model=model, optimizer=optimizer, update=optimizer.step if replay else None)
    ddp = elastic.ddp(model)
    x = torch.randn(16, width, generator=torch.Generator().manual_seed(dist.get_rank()))
    times: list[float] = []
    first = last = usual = 0.0
    until = None
    if again:
        open(seen, "w").close()
    begin = time.perf_counter()
    for step in elastic.steps(100_000):
        if again and not os.path.exists(back):
            open(back, "w").close()
        if times and not again:  # with what comes between two steps
            first = first or (len(times) if os.path.exists(seen) else 0)
            last = last or (len(times) if os.path.exists(back) else 0)
        if dist.get_rank() == 1 and not again and step == 30:
            open(flag, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        if step == 30:
            usual = statistics.median(times[5:]) if times else 0.0
        if until is None and step > 30 and len(elastic.members) == 3:
            until = step + 5
        if step == until:
            break
        optimizer.zero_grad(set_to_none=False)
        (ddp(x) - 0.5 * x).square().mean().backward()
        elastic.update() if replay else optimizer.step()
        times.append(time.perf_counter() - begin)
        begin = time.perf_counter()
    bits = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest()
    result = {"rank": dist.get_rank(), "bits": bits, "replayed": elastic.caught_up()["replayed"], "seconds": elastic.caught_up()["seconds"]}
    if not again:
        result.update(usual_ms=usual * 1e3, gap_ms=(max(times[int(first):int(last) + 1]) - usual) * 1e3)
    print("RESULT " + json.dumps(result), flush=True)
    os._exit(0)


def run(kind: str, width: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        results = results_of("regroup.bench.rejoin", 3, [f"{kind},{folder}", "--width", str(width)], ("--restart",))
    survivors = [r for r in results if "gap_ms" in r]
    return {"kind": kind, "usual_ms": max(r["usual_ms"] for r in survivors), "gap_ms": max(r["gap_ms"] for r in survivors),
            "replayed": max(r["replayed"] for r in results), "seconds": max(r["seconds"] for r in results)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--json")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.worker:
        kind, folder = a.worker.split(",", 1)
        return worker(kind, a.width, folder)
    rows = []
    for _ in range(a.turns):
        for kind in ("replay", "broadcast"):
            rows.append(run(kind, a.width))
            r = rows[-1]
            print(f"{kind:10} step {r['usual_ms']:6.1f} ms, gap {r['gap_ms']:7.1f} ms, replayed {r['replayed']}, caught up in {r['seconds']:.2f} s",
                  flush=True)
    print(f"state {4 * (a.width * a.width + a.width) * 4 * 3 / 2**20:.0f} MiB; same bits at all three")
    if a.json:
        with open(a.json, "w", encoding="utf-8") as file:
            json.dump({"rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
