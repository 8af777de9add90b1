"""Calls of c10d that torch's own functions seldom make: coalesced forms, split, monitored barrier, any source, life and errors."""
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("regroup.torch._c10d", reason="built without torch")


def test_coalesced_forms_any_source_split_and_reconfiguration_give_the_expected_values(forked):
    def body():
        import torch
        import torch.distributed as dist
        import regroup.torch
        dist.init_process_group("regroup")
        r, n = dist.get_rank(), dist.get_world_size()
        world = dist.group.WORLD
        backend = world._get_backend(torch.device("cpu"))
        sizes = (3, 1, 1000)
        total = float(n * (n + 1) // 2)

        tensors = [torch.full((k,), float(r + 1)) for k in sizes]
        dist.all_reduce_coalesced(tensors)
        assert all((t == total).all() for t in tensors)
        ins = [torch.full((k,), float(r)) for k in sizes]
        outs = [[torch.empty(k) for k in sizes] for _ in range(n)]
        dist.all_gather_coalesced(outs, ins)
        assert all((outs[k][i] == k).all() for k in range(n) for i in range(len(sizes)))
        outs = [torch.empty(n * k) for k in sizes]
        world.allgather_into_tensor_coalesced(outs, ins).wait()
        for k, out in zip(sizes, outs):
            assert torch.equal(out, torch.arange(float(n)).repeat_interleave(k))
        outs, ins = [torch.empty(k) for k in sizes], [torch.arange(float(n)).repeat_interleave(k) * (r + 1) for k in sizes]
        world.reduce_scatter_tensor_coalesced(outs, ins).wait()
        assert all((out == r * total).all() for out in outs)
        with dist._coalescing_manager(async_ops=True) as manager:
            part = [torch.empty(n * 4) for _ in range(3)]
            for k in range(3):
                dist.all_gather_into_tensor(part[k], torch.full((4,), float(10 * k + r)))
        manager.wait()
        assert all(torch.equal(part[k], (10 * k + torch.arange(float(n))).repeat_interleave(4)) for k in range(3))

        # Whoever comes first; every message once.
        if r == 0:
            got = []
            for _ in range(2 * (n - 1)):
                t = torch.empty(2)
                work = world.recv_anysource([t], 5)
                work.wait()
                assert work._source_rank() == int(t[0]), (work._source_rank(), t)
                got.append((int(t[0]), int(t[1])))
            assert sorted(got) == [(k, i) for k in range(1, n) for i in range(2)], got
            assert all(got.index((k, 0)) < got.index((k, 1)) for k in range(1, n))
        else:
            for i in range(2):
                dist.send(torch.tensor([float(r), float(i)]), 0, tag=5)
        swap = [dist.P2POp(dist.isend, torch.full((3,), float(r)), (r + 1) % n), dist.P2POp(dist.irecv, torch.empty(3), (r - 1) % n)]
        for work in dist.batch_isend_irecv(swap):
            work.wait()
        assert (swap[1].tensor == (r - 1) % n).all()

        world.monitored_barrier()  # torch's own function asks for the name gloo
        before = backend._get_sequence_number_for_group()
        dist.all_reduce(torch.ones(1))
        assert backend._get_sequence_number_for_group() == before + 1

        # A group of some of the ranks: torch numbers them in order.
        child = world.split_group([2, 0], group_name="pair") if r != 1 else None
        if child is not None:
            assert (child.rank(), child.size()) == ((0, 2) if r == 0 else (1, 2))
            t = torch.full((2,), float(r))
            child.allreduce([t]).wait()
            assert (t == 2).all()
            b = torch.full((2,), float(r))
            options = dist.BroadcastOptions()
            options.rootRank = 0
            child.broadcast([b], options).wait()
            assert (b == 0).all()
        dist.barrier()

        assert regroup.torch.supports_reconfigure()
        handles = [None] * n
        dist.all_gather_object(handles, regroup.torch.get_reconfigure_handle())
        assert len(set(handles)) == n
        new = regroup.torch.reconfigure("second", list(reversed(handles)), 20.0)
        assert (new.rank(), new.size()) == (n - 1 - r, n)
        t = torch.full((4,), float(r + 1))
        new.allreduce([t]).wait()
        assert (t == total).all()
        for bad in (handles[:r] + handles[r + 1:], handles + handles[:1]):
            try:
                regroup.torch.reconfigure("third", bad, 5.0)
                raise AssertionError("a bad list of handles")
            except ValueError as e:
                assert "handle" in str(e)
        new.shutdown()
        dist.all_reduce(t)
        assert (t == n * total).all()  # the first group goes on
        dist.destroy_process_group()
        print("fine", flush=True)
    assert forked(body, 3).count("fine") == 3


def test_errors_name_ranks_and_an_aborted_or_shut_down_group_takes_no_calls(forked):
    def body():
        import time
        from datetime import timedelta
        import torch
        import torch.distributed as dist
        from expect import raises
        import regroup.torch
        dist.init_process_group("regroup", timeout=timedelta(seconds=20))
        r, world = dist.get_rank(), dist.group.WORLD
        backend = world._get_backend(torch.device("cpu"))
        assert backend.get_error() == "success"
        # Rank 2 comes late to a monitored barrier: rank 0 names it, the others say where to look.
        if r == 2:
            time.sleep(1.2)
        raises(RuntimeError, "Rank 2" if r == 0 else "rank 0",
               lambda: world.monitored_barrier(timedelta(seconds=0.6))) if r != 2 else None
        dist.barrier()
        raises(ValueError, "rank 3", lambda: world.send([torch.zeros(1)], 3, 0))
        raises(ValueError, "oneself", lambda: world.send([torch.zeros(1)], r, 0))
        root = dist.BroadcastOptions()
        root.rootRank = 7
        raises(ValueError, "rank 7", lambda: world.broadcast([torch.zeros(1)], root))
        raises(ValueError, "one tensor", lambda: world.allreduce([torch.zeros(1), torch.zeros(1)]))
        raises(ValueError, "contiguous", lambda: dist.all_reduce(torch.zeros(4, 4)[:, 1]))
        raises(ValueError, "sparse", lambda: dist.all_reduce(torch.zeros(4, 4).to_sparse()))
        raises(ValueError, "size", lambda: dist.all_gather_into_tensor(torch.zeros(5), torch.zeros(4)))
        raises(ValueError, "elements", lambda: dist.scatter(torch.zeros(2), [torch.zeros(3)] * 3, 0)) if r == 0 else None
        raises(ValueError, "no tensors", lambda: backend.allreduce_coalesced([]))
        raises(ValueError, "", lambda: dist.all_reduce(torch.zeros(2), op=dist.ReduceOp.BAND))
        raises(ValueError, "MAX on complex", lambda: dist.all_reduce(torch.zeros(2, dtype=torch.complex64), op=dist.ReduceOp.MAX))
        raises(ValueError, "meta", lambda: backend.allreduce([torch.zeros(2, device="meta")]))
        raises(ValueError, "lists of different lengths", lambda: world.allgather_into_tensor_coalesced([torch.zeros(3)], [torch.zeros(1)] * 2))
        raises(RuntimeError, "kMismatch", lambda: dist.all_reduce(torch.zeros(3 + r)))
        assert backend.get_error() == "remote_error"
        t = torch.ones(3)
        dist.all_reduce(t)
        assert (t == 3).all()
        # Who does not come in time: Timed out at who waits, cancelled at who comes late; the group goes on.
        if r == 0:
            work = dist.all_reduce(torch.zeros(3), async_op=True)
            begin = time.monotonic()
            raises(RuntimeError, "Timed out", lambda: work.wait(timedelta(seconds=0.4)))
            assert time.monotonic() - begin < 3
        else:
            time.sleep(0.9)
            raises(RuntimeError, "kCancelled", lambda: dist.all_reduce(torch.zeros(3)))
        # An op that is pending when its group is aborted raises at once; so does every call after that.
        other = dist.new_group([0, 1, 2])
        dist.all_reduce(t, group=other)
        if r == 0:
            work = dist.all_reduce(torch.ones(2), group=other, async_op=True)
            begin = time.monotonic()
            regroup.torch.abort(other)
            raises(RuntimeError, "kClosed", work.wait)
            assert time.monotonic() - begin < 3
            raises(RuntimeError, "shut down or aborted", lambda: dist.all_reduce(t, group=other))
            raises(RuntimeError, "shut down or aborted", lambda: dist.send(t, 1, group=other))
            for peer in (1, 2):
                dist.send(t, peer)
        else:  # the others go on without it
            dist.recv(t, 0)
            dist.all_reduce(torch.ones(2), group=other)
            assert regroup.torch.contributors(other) == [1, 2]
        dist.barrier()
        other._get_backend(torch.device("cpu")).shutdown()
        raises(RuntimeError, "shut down or aborted", lambda: dist.all_reduce(t, group=other))
        dist.barrier()
        dist.destroy_process_group()
        raises(ValueError, "init", lambda: dist.all_reduce(t))
        print("fine", flush=True)
    assert forked(body, 3).count("fine") == 3


def test_a_backend_built_for_another_torch_says_so_before_it_is_used(monkeypatch):
    import regroup.torch
    monkeypatch.setattr(regroup.torch, "_module", None)
    monkeypatch.setattr(regroup.torch._torch, "__version__", "9.9.9+cpu")
    with pytest.raises(ImportError, match=r"built for torch 2.*this is 9\.9\.9"):
        regroup.torch._load()
