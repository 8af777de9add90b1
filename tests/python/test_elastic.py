"""Elastic: ranks that die and come back, checkpoints; its sampler: every sample once; and what it asks for."""
import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("regroup.torch._c10d", reason="built without torch")

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs_elastic.py")


def run(kind, kill_step, *options, ranks=3, **environment):
    from regroup._command import program
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("REGROUP_", "MASTER_"))}
    done = subprocess.run([program(), "run", "-n", str(ranks), "--timeout", "80", "--no-prefix", "--quiet", *options, "--", sys.executable,
                           "-W", "ignore", "-B", PROGRAM, kind, str(kill_step)], capture_output=True, text=True, timeout=100,
                          env={**clean, "OMP_NUM_THREADS": "1", **environment})
    ends = [dict(w.split("=") for w in line.split()[1:]) for line in done.stdout.splitlines() if line.startswith("end ")]
    assert sorted(e["rank"] for e in ends) == [str(r) for r in range(ranks)], done.stdout + done.stderr
    for key in ("bits", "position", "rate", "step", "noise"):
        assert len({e[key] for e in ends}) == 1, (key, ends)
    return {int(e["rank"]): e for e in ends}


@pytest.mark.parametrize("kind, killed", [("plain", 1), ("ddp", 0)])
def test_a_killed_rank_comes_back_to_the_same_group_with_the_state_of_the_others(kind, killed):
    ends = run(kind, 60, "--restart", "--chaos", f"kill:{killed}@step:60")
    for rank, end in ends.items():
        ran, step = int(end["ran"]), int(end["step"]) + 1
        if rank == killed:
            assert int(end["first"]) >= 60 and ran == step - int(end["first"]), end
        else:
            assert ran == step and int(end["changes"]) == 2, end  # no step was lost


def test_all_begin_again_where_the_checkpoint_was_written(tmp_path):
    file = str(tmp_path / "run.pt")
    before = run("ddp", -21, CHECKPOINT=file, ranks=2)  # ends behind step 19; the file is of the first ten
    assert before[0]["step"] == "19" and not os.path.exists(file + ".part")
    after = run("ddp", -21, CHECKPOINT=file, ranks=2)
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


def test_elastic_says_what_it_needs():
    import regroup.torch
    with pytest.raises((RuntimeError, ValueError)):
        regroup.torch.Elastic()
    with pytest.raises(TypeError, match="state_dict"):
        regroup.torch.Elastic(model=3)
    with pytest.raises(ValueError, match="checkpoint_every"):
        regroup.torch.Elastic(checkpoint_every=0)
    with pytest.raises(ValueError, match="samples"):
        regroup.torch.StatefulSampler(3).load_state_dict(regroup.torch.StatefulSampler(4).state_dict())
    with pytest.raises(ValueError, match="REGROUP_COORDINATOR"):
        torch.distributed.init_process_group("regroup", init_method="regroup://")
