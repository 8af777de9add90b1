"""Ranks that are lost: DDP goes on with the same bits, averages are right, what needs the lost one raises and names it."""
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("regroup.torch._c10d", reason="built without torch")


@pytest.mark.parametrize("hook", [True, False])
def test_ddp_survives_a_sigkilled_rank_with_the_same_bits(forked, hook):
    def body(hook, kill_rank, kill_step):
        import hashlib, os, signal, threading
        import torch
        import torch.distributed as dist
        import regroup.torch
        from torch.nn.parallel import DistributedDataParallel as DDP
        dist.init_process_group("regroup")
        rank = dist.get_rank()
        torch.manual_seed(1)
        model = torch.nn.Sequential(torch.nn.Linear(40, 200), torch.nn.ReLU(), torch.nn.Linear(200, 10))
        model = DDP(model, bucket_cap_mb=0.01)
        if hook:
            model.register_comm_hook(None, regroup.torch.ddp_hook)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        data = torch.Generator().manual_seed(rank)
        seen = []
        for step in range(30):
            if rank == kill_rank and step == kill_step:
                threading.Timer(0.002, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
            x, y = torch.randn(16, 40, generator=data), torch.randint(0, 10, (16,), generator=data)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            seen.append(len(regroup.torch.contributors()))
            optimizer.step()
        bits = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest()
        print(f"end rank={rank} contributors={seen[0]},{seen[-1]} steps={len(seen)} bits={bits}", flush=True)
        dist.destroy_process_group()
    output = forked(body, 3, hook, 1, 10, check=False, environment={"REGROUP_TORCH_FIXED_DIVISOR": "0" if hook else "1"})
    ends = [dict(w.split("=") for w in line.split()[1:]) for line in output.splitlines() if line.startswith("end ")]
    assert sorted(e["rank"] for e in ends) == ["0", "2"], output
    assert ends[0]["bits"] == ends[1]["bits"]
    assert all(e["contributors"] == "3,2" and e["steps"] == "30" for e in ends), ends


def test_after_a_loss_averages_are_of_the_survivors_and_what_needs_the_lost_rank_names_it(forked):
    def body():
        import os, signal
        import torch, torch.distributed as dist
        import regroup.torch
        dist.init_process_group("regroup")
        rank = dist.get_rank()
        stand_in = dist.new_group([0, 1, 2], pg_options={"stand_in_root": True})
        dist.barrier()
        if rank == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        while 0 in regroup.torch.contributors():  # the same at everybody, unlike members()
            dist.barrier()
        t = torch.full((7,), float(rank)) / 3
        dist.all_reduce(t)
        assert torch.allclose(t, torch.full((7,), 1.5)), t          # of 1 and 2
        t = torch.full((7,), float(rank))
        dist.all_reduce(t, op=dist.ReduceOp.AVG)
        assert torch.equal(t, torch.full((7,), 1.5)), t
        out = [torch.ones(2) for _ in range(3)]
        dist.all_gather(out, torch.full((2,), float(rank)))
        assert [int(o[0]) for o in out] == [0, 1, 2] and out[0].tolist() == [0, 0]
        part, whole = torch.zeros(2), torch.arange(6.)
        dist.reduce_scatter(part, list(whole.split(2)))
        assert torch.equal(part, 3 * whole[2 * rank:2 * rank + 2]), part  # twice, scaled to three
        got, give = torch.full((3,), 9.), torch.full((3,), float(rank))
        dist.all_to_all_single(got, give)
        assert got.tolist() == [0, 1, 2], got

        def raises(why, call, *intact):
            before = [t.clone() for t in intact]
            try:
                call()
            except dist.DistBackendError as e:
                assert why in str(e), e
            else:
                raise SystemExit(f"no exception: {why}")
            assert all(torch.equal(a, b) for a, b in zip(before, intact)), intact
        raises("rank 0 is lost", lambda: dist.reduce_scatter_tensor(part, whole), whole)
        raises("rank 0 is lost", lambda: dist.all_gather_into_tensor(whole, part), part)
        for count in (7, 100_000):
            t = torch.full((count,), float(rank))
            raises("rank 0, is not in the group", lambda: dist.broadcast(t, 0), t)
            raises("rank 0, is not in the group", lambda: dist.reduce(t, 0), t)
            raises("rank 0, is not in the group", lambda: dist.gather(t, None, 0), t)
            raises("rank 0, is not in the group", lambda: dist.scatter(t, None, 0), t)
            raises("rank 0", lambda: dist.recv(t, 0), t)
            dist.broadcast(t, 0, group=stand_in)  # the lowest that lives
            assert (t == 1).all()
        gathered = [torch.ones(1) for _ in range(3)] if rank == 2 else None
        dist.gather(torch.full((1,), float(rank)), gathered, 2)
        assert rank != 2 or [float(g) for g in gathered] == [0, 1, 2]
        assert regroup.torch.contributors() == [1, 2]
        print("fine", flush=True)
    assert forked(body, 3, check=False, environment={"REGROUP_TORCH_FIXED_DIVISOR": "1"}).count("fine") == 2


@pytest.mark.parametrize("call", ["broadcast", "reduce", "gather", "scatter"])
def test_a_root_that_dies_in_the_middle_of_its_op_is_named_at_every_survivor_whose_buffers_are_intact(forked, call):
    def body(call):
        import os
        import torch, torch.distributed as dist
        rank = int(os.environ["RANK"])
        # The fourth op that the root has moved bytes of is its last.
        dist.init_process_group("regroup", pg_options={"failpoints": "after_first_chunk#4=kill"} if rank == 0 else None)
        count = 300_000
        for turn in range(50):
            mine = torch.full((count,), float(10 * turn + rank))
            others = [torch.full((count,), float(turn)) for _ in range(3)] if rank == 0 else None
            try:
                {"broadcast": lambda: dist.broadcast(mine, 0), "reduce": lambda: dist.reduce(mine, 0),
                 "gather": lambda: dist.gather(mine, others, 0), "scatter": lambda: dist.scatter(mine, others, 0)}[call]()
            except dist.DistBackendError as e:
                assert "rank 0" in str(e), e
                assert (mine == 10 * turn + rank).all(), mine
                break
            want = {"broadcast": 10 * turn, "scatter": turn}.get(call, 10 * turn + rank)
            assert rank == 0 or (mine == want).all()
        t = torch.ones(3)
        dist.all_reduce(t)
        assert t[0] == 2
        print(f"fine {turn}", flush=True)
    output = forked(body, 3, call, check=False)
    fine = [line for line in output.splitlines() if line.startswith("fine")]
    assert len(fine) == 2 and len(set(fine)) == 1 and fine[0] != "fine 49", output


def test_a_rank_that_returns_makes_its_sub_groups_again_and_the_others_keep_theirs(forked, tmp_path):
    """Rank 1 is in both sub-groups. It dies, comes back, and makes them as in its first life."""
    source = '''
import os, signal, time
import torch, torch.distributed as dist
import regroup.torch
flag = os.environ["FLAG"]
dist.init_process_group("regroup", init_method="regroup://")
rank, back = dist.get_rank(), os.environ["LIFE"] != "0"
low, high = dist.new_group([0, 1]), dist.new_group([1, 2])  # the same in the same order in every life
mine = [g for g in (low, high) if rank in dist.get_process_group_ranks(g)]
seen, until = set(), time.monotonic() + 60
done = torch.zeros(1)
turn = 0
while done[0] == 0:  # every turn: an op of each sub-group, one of all
    for g in mine if not back or turn else []:  # who comes back begins where the others wait for it: at the op of all
        t = torch.full((5,), float(rank + 1))
        work = dist.all_reduce(t, group=g, async_op=True)
        work.wait()
        ranks = [dist.get_process_group_ranks(g)[i] for i in regroup.torch.contributors(g)]
        assert (t == sum(r + 1 for r in ranks)).all(), (t, ranks)
        seen.add(tuple(ranks))
    if rank == 1 and not back and turn == 20:
        open(flag, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    turn += 1
    # Over when everybody has seen its sub-groups whole again behind the loss.
    alone = (rank,) in seen or rank == 1
    whole = all(len(regroup.torch.contributors(g)) == 2 for g in mine)
    done = torch.tensor([1.0 if os.path.exists(flag) and alone and whole else 0.0])
    dist.all_reduce(done, op=dist.ReduceOp.MIN)
    if len(regroup.torch.contributors()) < 3:
        done.zero_()
    assert time.monotonic() < until
print(f"fine rank={rank} back={back} seen={sorted(seen)}", flush=True)
os._exit(0)
'''
    output = forked(source, 3, lives=2, environment={"FLAG": str(tmp_path / "flag")})
    fine = sorted(line for line in output.splitlines() if line.startswith("fine"))
    assert len(fine) == 3 and "back=True" in fine[1], output
    assert "(0,)" in fine[0] and "(0, 1)" in fine[0] and "(2,)" in fine[2] and "(1, 2)" in fine[2], fine
