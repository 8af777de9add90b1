"""Elastic: ranks that die and come back, checkpoints; its sampler: every sample once; and what it asks for."""
import os

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("regroup.torch._c10d", reason="built without torch")

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs_elastic.py")


def run(forked, kind, kill_step, killed=-1, ranks=3, **environment):
    with open(PROGRAM, encoding="utf-8") as file:
        output = forked(f"{file.read()}\nmain({kind!r}, {killed}, {kill_step})\n", ranks, lives=2, environment=environment)
    ends = [dict(w.split("=") for w in line.split()[1:]) for line in output.splitlines() if line.startswith("end ")]
    assert sorted(e["rank"] for e in ends) == [str(r) for r in range(ranks)], output
    for key in ("bits", "position", "rate", "step", "noise"):
        assert len({e[key] for e in ends}) == 1, (key, ends)
    return {int(e["rank"]): e for e in ends}


@pytest.mark.parametrize("kind, killed", [("plain", 1), ("ddp", 0), ("replay", 0)])
def test_a_killed_rank_comes_back_to_the_same_group_with_the_state_of_the_others(forked, kind, killed):
    # 8 KB/s a source: with update= the members make many steps while the 14 KB of state are fetched.
    ends = run(forked, kind, 60, killed, REGROUP_CATCH_UP_RATE="8000")
    for rank, end in ends.items():
        ran, step = int(end["ran"]), int(end["step"]) + 1
        if rank == killed:
            assert int(end["first"]) >= 60 and ran == step - int(end["first"]), end
            assert kind != "replay" or (int(end["snapshots"]) >= 1 and int(end["replayed"]) >= 5), end
        else:
            assert ran == step and int(end["changes"]) == 2, end  # no step was lost


@pytest.mark.parametrize("kind", ["ddp", "replay-plain"])
def test_all_begin_again_where_the_checkpoint_was_written(forked, tmp_path, kind):
    file = str(tmp_path / "run.pt")
    before = run(forked, kind, -21, CHECKPOINT=file, ranks=2)  # ends behind step 19; the file is of the first ten
    assert before[0]["step"] == "19" and not os.path.exists(file + ".part")
    after = run(forked, kind, -21, CHECKPOINT=file, ranks=2)
    assert after[0]["first"] == after[1]["first"] == "10"
    assert all(after[0][key] == before[0][key] for key in ("step", "bits", "position", "rate", "noise"))


def test_the_sampler_gives_every_sample_once_across_changes_of_the_members():
    import regroup.torch
    members = {0: [0, 1, 2], 4: [0, 2], 9: [0, 1, 2]}
    samplers = {r: regroup.torch.StatefulSampler(100, seed=5) for r in (0, 1, 2)}
    seen, now = [], []
    for step in range(20):
        if step == 4:  # 1 was lost before the end of its fourth step
            for r in (0, 2):
                samplers[r].give_back(1)
        now = members.get(step, now)
        if step == 9:  # 1 comes back: the state of 0
            samplers[1] = regroup.torch.StatefulSampler(100, seed=1)
            samplers[1].load_state_dict(samplers[0].state_dict())
        if samplers[0].position >= 100 and not samplers[0].returned:
            break
        for r in now:
            part = samplers[r].draw(3, now, r).tolist()
            if (step, r) != (3, 1):
                seen += part
    assert sorted(seen) == list(range(100))


def test_what_is_registered_is_what_the_first_step_of_the_optimizer_would_begin_with():
    from regroup.torch._state import State
    for make in (lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1), lambda p: torch.optim.AdamW(p, amsgrad=True),
                 lambda p: torch.optim.RMSprop(p, momentum=0.5), lambda p: torch.optim.Adagrad(p, initial_accumulator_value=0.3)):
        bits = []
        for register in (False, True):
            torch.manual_seed(1)
            model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 2)).to(memory_format=torch.channels_last)
            optimizer = make(model.parameters())
            state = State({"model": model, "optimizer": optimizer})
            if register:
                state.register()
                assert all(p.grad is None for p in model.parameters())
                addresses = state.buffers()
            for step in range(3):
                flat = torch.randn(sum(p.numel() for p in model.parameters()), generator=torch.Generator().manual_seed(step))
                state.set_gradients(memoryview(flat.numpy()).cast("B"), range(len(state.parameters)))
                optimizer.step()
            bits.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
            if register:
                state.tensors.clear()
                state.register()
                assert state.buffers() == addresses  # where the optimizer still writes
        assert torch.equal(*bits), make(model.parameters())


def test_elastic_says_what_it_needs():
    import regroup.torch
    from regroup.torch._state import State
    with pytest.raises((RuntimeError, ValueError)):
        regroup.torch.Elastic()
    with pytest.raises(TypeError, match="state_dict"):
        regroup.torch.Elastic(model=3)
    with pytest.raises(ValueError, match="checkpoint_every"):
        regroup.torch.Elastic(checkpoint_every=0)
    with pytest.raises(ValueError, match="samples"):
        regroup.torch.StatefulSampler(3).load_state_dict(regroup.torch.StatefulSampler(4).state_dict())
    linear = torch.nn.Linear(2, 2)
    for parts, why in (({"m": torch.nn.BatchNorm1d(2)}, "running statistics"),
                       ({"m": linear, "o": torch.optim.NAdam(linear.parameters())}, "NAdam"),
                       ({"m": linear, "o": torch.optim.SGD(linear.parameters(), 0.1, momentum=0.9, dampening=0.1)}, "dampening")):
        with pytest.raises(TypeError, match=why):
            State(parts)
    with pytest.raises(ValueError, match="REGROUP_COORDINATOR"):
        torch.distributed.init_process_group("regroup", init_method="regroup://")
