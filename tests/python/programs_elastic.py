"""Run by test_elastic.py as a rank: a training loop that ends 40 steps after somebody was killed and all are there again.

kind: plain, ddp (a transfer that all wait for), replay, replay-plain (with update=: nobody waits)."""
import hashlib
import os
import signal
import threading

import regroup.torch
import torch
import torch.distributed as dist


def main(kind, killed, kill_step):
    checkpoint = os.environ.get("CHECKPOINT")
    replay = kind.startswith("replay")
    dist.init_process_group("regroup", init_method="regroup://", pg_options={"elastic" if replay else "explicit_marks": True})
    torch.manual_seed(7 + dist.get_rank())  # who begins is given the state of the lowest rank
    model = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 100, 0.9)
    sampler = regroup.torch.StatefulSampler(4096)

    def update():
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        scheduler.step()
    elastic = regroup.torch.Elastic(model=model, optimizer=optimizer, scheduler=scheduler, sampler=sampler,
                                    checkpoint=checkpoint, checkpoint_every=10, update=update if replay else None)
    plain = kind.endswith("plain")
    wrapped = model if plain else elastic.ddp(model)
    x = torch.randn(4096, 16, generator=torch.Generator().manual_seed(3))
    y = x.sum(1, keepdim=True)
    ran, first, size = 0, None, dist.get_world_size()
    for step in elastic.steps(100_000):
        first = step if first is None else first
        part = elastic.indices(8)
        optimizer.zero_grad(set_to_none=False)
        if elastic.rank == killed and step == kill_step and os.environ["LIFE"] == "0":
            threading.Timer(0.001, os.kill, (os.getpid(), signal.SIGKILL)).start()
        loss = (wrapped(x[part]) - y[part]).square().mean()
        loss.backward()
        if plain:
            elastic.average(model)
        told = loss.detach().clone()
        dist.all_reduce(told, op=dist.ReduceOp.AVG)  # an op that no replay looks at
        elastic.update() if replay else update()
        ran += 1
        if step >= kill_step + 40 and len(elastic.members) == size:
            break
    bits = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest()
    caught = elastic.caught_up()
    print(f"end rank={elastic.rank} first={first} step={step} ran={ran} changes={elastic.changes} position={sampler.position} "
          f"replayed={caught['replayed']} snapshots={caught['snapshots']} rate={scheduler.get_last_lr()[0]:.9f} noise={torch.rand(1).item():.7f} bits={bits}", flush=True)
    dist.destroy_process_group()

