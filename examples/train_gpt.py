#!/usr/bin/env python3
"""A small GPT on text of this machine (licences and copyright files of Debian), DDP on CPU, through kills.

    regroup run -n 3 --restart --chaos kill:1@step:60,kill:0@step:200 -- python3 examples/train_gpt.py --steps 400 --plot curve.svg

No more has to be set. The lowest rank that was there from the first step on writes the loss curve with the changes of the
membership marked; --compare FILE.json draws the curve of another run (its --curve) below it.
"""
import argparse
import glob
import json
import os

import regroup.torch
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.before, self.middle = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        b, n, w = x.shape
        q, k, v = self.qkv(self.before(x)).view(b, n, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, n, w)
        x = x + self.out(mixed)
        return x + self.mlp(self.middle(x))


class GPT(nn.Module):
    def __init__(self, length, width=96, layers=3, heads=4):
        super().__init__()
        self.token, self.place = nn.Embedding(256, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 256)

    def forward(self, tokens):
        x = self.token(tokens) + self.place(torch.arange(tokens.shape[1]))
        return self.head(self.norm(self.blocks(x)))


def text():
    files = sorted(glob.glob("/usr/share/common-licenses/*")) + sorted(glob.glob("/usr/share/doc/lib*/copyright"))[:200]
    parts = [open(f, "rb").read() for f in files if os.path.isfile(f) and not os.path.islink(f)]
    return torch.frombuffer(bytearray(b"".join(parts)), dtype=torch.uint8).long()


def plot(path, curve, changes, other):
    width, height, top = 800, 360, max(loss for _, loss in curve + other)
    last = max(step for step, _ in curve + other) or 1
    x, y = (lambda s: 40 + s / last * (width - 60)), (lambda v: height - 30 - v / top * (height - 50))
    line = lambda points, color: ('<polyline fill="none" stroke="%s" points="%s"/>' % (
        color, " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in points)))
    marks = "".join(f'<line x1="{x(s):.1f}" x2="{x(s):.1f}" y1="20" y2="{height - 30}" stroke="#c00" stroke-dasharray="3"/>'
                    f'<text x="{x(s) + 3:.1f}" y="30" font-size="11">{who}</text>' for s, who in changes)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">'
                   f'<rect width="100%" height="100%" fill="white"/>{line(other, "#999") if other else ""}{line(curve, "#06c")}{marks}'
                   f'<text x="40" y="{height - 8}" font-size="12">loss by step, 0 to {last}; {top:.2f} at the top; dashed: members from then on'
                   f'</text></svg>')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--plot")
    parser.add_argument("--curve")
    parser.add_argument("--compare")
    a = parser.parse_args()
    torch.set_num_threads(1)
    dist.init_process_group("regroup", init_method="regroup://", pg_options={"elastic": True})
    torch.manual_seed(1)
    data = text()
    model = GPT(a.length)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    sampler = regroup.torch.StatefulSampler((len(data) - 1) // a.length)
    elastic = regroup.torch.Elastic(model=model, optimizer=optimizer, sampler=sampler, update=optimizer.step)
    ddp = elastic.ddp(model)
    curve, changes, members = [], [], None
    for step in elastic.steps(a.steps):
        begin = elastic.indices(a.batch) * a.length
        tokens = torch.stack([data[i:i + a.length + 1] for i in begin.tolist()])
        optimizer.zero_grad(set_to_none=False)
        loss = F.cross_entropy(ddp(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        mean = loss.detach().clone()
        dist.all_reduce(mean, op=dist.ReduceOp.AVG)
        elastic.update()  # optimizer.step(), as the end of the step
        curve.append((step, mean.item()))
        if members is not None and members != elastic.members:
            changes.append((step, ",".join(map(str, elastic.members))))
        members = elastic.members
        if elastic.rank == min(members) and step % 20 == 0:
            print(f"step {step} loss {mean.item():.3f} members {members}", flush=True)
    whole = torch.zeros(dist.get_world_size(), dtype=torch.int64)
    whole[elastic.rank] = len(curve) == elastic.step
    dist.all_reduce(whole)
    if elastic.rank == (whole.nonzero().flatten().tolist() or [0])[0]:
        other = json.load(open(a.compare))["curve"] if a.compare else []
        if a.curve:
            json.dump({"curve": curve, "changes": changes}, open(a.curve, "w"))
        if a.plot:
            plot(a.plot, curve, changes, [tuple(p) for p in other])
        tail = [loss for _, loss in curve[-20:]]
        print(f"end steps={elastic.step} loss={sum(tail) / len(tail):.3f} changes={elastic.changes}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
