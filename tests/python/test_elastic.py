"""Elastic and its sampler: kills and returns in a training loop; every sample once."""
import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("regroup.torch._c10d", reason="built without torch")

PROGRAM = '''
import hashlib, os, sys
import torch, torch.distributed as dist
import regroup.torch
plain = sys.argv[1] == "plain"
dist.init_process_group("regroup", pg_options={"explicit_marks": True})
torch.manual_seed(7)
model = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 50)
sampler = regroup.torch.StatefulSampler(4096)
elastic = regroup.torch.Elastic(model=model, optimizer=optimizer, scheduler=scheduler, sampler=sampler)
wrapped = model if plain else elastic.ddp(model)
x = torch.randn(4096, 16, generator=torch.Generator().manual_seed(3))
y = x.sum(1, keepdim=True)
steps = 0
for step in elastic.steps(int(os.environ.get("STEPS", "300"))):
    part = elastic.indices(8)
    optimizer.zero_grad(set_to_none=False)
    loss = (wrapped(x[part]) - y[part]).square().mean()
    loss.backward()
    if plain:
        elastic.average(model)
    optimizer.step()
    scheduler.step()
    steps += 1
bits = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest()
print(f"end rank={elastic.rank} step={elastic.step} ran={steps} changes={elastic.changes} lr={scheduler.get_last_lr()[0]:.6f} "
      f"position={sampler.position} loss={loss.item():.4f} bits={bits}", flush=True)
dist.destroy_process_group()
'''


@pytest.mark.parametrize("kind", ["plain", "ddp"])
def test_a_killed_rank_comes_back_and_ends_with_the_same_bits(kind):
    from regroup._command import program
    from test_torch import free_port
    done = subprocess.run([program(), "run", "-n", "3", "--restart", "--timeout", "120", "--no-prefix", "--chaos",
                           "kill:1@step:400", "--", sys.executable, "-c", PROGRAM, kind], capture_output=True, text=True, timeout=150,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()),
                               "STEPS": os.environ.get("STEPS", "3000")})
    ends = [dict(w.split("=") for w in line.split()[1:]) for line in done.stdout.splitlines() if line.startswith("end ")]
    assert sorted(e["rank"] for e in ends) == ["0", "1", "2"], done.stdout + done.stderr
    assert len({e["bits"] for e in ends}) == 1 and len({e["position"] for e in ends}) == 1, ends
    by_rank = {e["rank"]: e for e in ends}
    assert int(by_rank["0"]["ran"]) == int(by_rank["0"]["step"]), "a survivor loses no step"
    assert int(by_rank["0"]["changes"]) >= 2, ends
    assert 0 < int(by_rank["1"]["ran"]) < int(by_rank["1"]["step"]), ends


def test_the_sampler_gives_every_sample_once_across_changes_of_the_members():
    import regroup.torch
    members = {0: [0, 1, 2], 4: [0, 2], 9: [0, 1, 2]}
    samplers = {r: regroup.torch.StatefulSampler(100, seed=5) for r in (0, 1, 2)}
    seen, now = [], []
    for step in range(14):
        now = members.get(step, now)
        if step == 9:  # 1 comes back: the state of 0
            samplers[1] = regroup.torch.StatefulSampler(100, seed=1)
            samplers[1].load_state_dict(samplers[0].state_dict())
        if samplers[0].position >= 100:
            break
        for r in now:
            seen += samplers[r].draw(3, now, r).tolist()
    assert sorted(seen) == list(range(100))


def test_elastic_says_what_it_needs():
    import regroup.torch
    with pytest.raises((RuntimeError, ValueError)):
        regroup.torch.Elastic()
    with pytest.raises(ValueError, match="samples"):
        regroup.torch.StatefulSampler(3).load_state_dict(regroup.torch.StatefulSampler(4).state_dict())
