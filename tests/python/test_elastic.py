"""Elastic's sampler: every sample once; and what Elastic asks for."""
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("regroup.torch._c10d", reason="built without torch")

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
