"""Arguments that cannot be right: ValueError before anything is sent, with what is wrong; the group goes on."""
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("regroup.torch._c10d", reason="built without torch")


def test_bad_tensors_and_lists_are_named_before_anything_is_sent(forked):
    def body():
        import torch
        import torch.distributed as dist
        from expect import raises
        dist.init_process_group("regroup")
        r, n, world = dist.get_rank(), dist.get_world_size(), dist.group.WORLD
        backend = world._get_backend(torch.device("cpu"))
        good, whole = torch.zeros(4), torch.zeros(4 * n)
        at_root = dist.GatherOptions()
        at_root.rootRank = r
        calls = {
            "all_reduce": lambda t: backend.allreduce([t]),
            "all_reduce_coalesced": lambda t: backend.allreduce_coalesced([good, t]),
            "broadcast": lambda t: backend.broadcast([t], dist.BroadcastOptions()),
            "all_gather in": lambda t: backend.allgather([[good] * n], [t]),
            "all_gather out": lambda t: backend.allgather([[good] * (n - 1) + [t]], [good]),
            "all_gather_into_tensor in": lambda t: backend._allgather_base(whole, t),
            "all_gather_into_tensor out": lambda t: backend._allgather_base(t, torch.zeros(1)),
            "all_gather_coalesced out": lambda t: world.allgather_coalesced([[t]] * n, [good]),
            "all_gather_into_tensor_coalesced out": lambda t: world.allgather_into_tensor_coalesced([t], [torch.zeros(1)]),
            "gather in": lambda t: backend.gather([[good] * n], [t], at_root),
            "gather out": lambda t: backend.gather([[good] * (n - 1) + [t]], [good], at_root),
            "scatter out": lambda t: backend.scatter([t], [[good] * n], dist.ScatterOptions()),
            "reduce_scatter in": lambda t: backend.reduce_scatter([good], [[good] * (n - 1) + [t]]),
            "reduce_scatter_tensor out": lambda t: backend._reduce_scatter_base(t, whole),
            "reduce_scatter_tensor_coalesced out": lambda t: world.reduce_scatter_tensor_coalesced([t], [whole]),
            "all_to_all in": lambda t: backend.alltoall([good] * n, [good] * (n - 1) + [t]),
            "all_to_all out": lambda t: backend.alltoall([good] * (n - 1) + [t], [good] * n),
            "all_to_all_single in": lambda t: backend.alltoall_base(good, t, [], []),
            "send": lambda t: backend.send([t], (r + 1) % n, 0),
            "recv": lambda t: backend.recv([t], (r + 1) % n, 0),
        }
        elements = {"all_gather_into_tensor out": n, "all_gather_into_tensor_coalesced out": n}
        for name, call in calls.items():
            k = elements.get(name, 4)
            if "coalesced out" in name:  # by the process group, whose dispatch refuses the other two itself
                raises(ValueError, "contiguous", lambda: call(torch.zeros(k, 2)[:, 1]))
                continue
            for why, bad in (("sparse", torch.zeros(k).to_sparse()), ("meta", torch.zeros(k, device="meta")),
                             ("contiguous", torch.zeros(k, 2)[:, 1])):
                try:
                    raises(ValueError, why, lambda: call(bad))
                except BaseException as e:
                    raise AssertionError(f"{name}, {why}: {type(e).__name__} {e}") from e
        # Of another type than the rest: 8-byte elements would not fit the others' memory.
        double = torch.zeros(1, dtype=torch.float64)
        raises(ValueError, "Double", lambda: world.allgather_into_tensor_coalesced([torch.zeros(n)], [double]))
        raises(ValueError, "Double", lambda: world.reduce_scatter_tensor_coalesced([double], [torch.zeros(n)]))
        raises(ValueError, "Double", lambda: backend.reduce_scatter([double], [[torch.zeros(1)] * n]))
        raises(ValueError, "Double", lambda: backend.alltoall([torch.zeros(1)] * n, [torch.zeros(1)] * (n - 1) + [double]))
        raises(ValueError, "a split of -1", lambda: backend.alltoall_base(torch.zeros(3), torch.zeros(3), [], [-1, 4][:n] + [0] * (n - 2)))
        raises(ValueError, "group size", lambda: backend.alltoall_base(torch.zeros(3), torch.zeros(3), [3], [3]))
        raises(ValueError, "lists of", lambda: backend.alltoall([good], [good]))
        raises(ValueError, "one list", lambda: backend.allgather([[good]], [good]))
        if r != 0:
            raises(ValueError, "only the root", lambda: backend.scatter([good], [[good] * n], dist.ScatterOptions()))
        raises(ValueError, "host memory", lambda: backend.allocate_tensor(4, dtype=torch.float32, device=torch.device("meta")))
        dist.barrier()  # none of them took a number
        # Types that differ between the ranks are found when they meet.
        raises(dist.DistBackendError, "kMismatch", lambda: dist.all_reduce(torch.zeros(3, dtype=torch.float32 if r else torch.int32)))
        if r == 0:
            dist.send(torch.zeros(3), 1)
        if r == 1:
            raises(dist.DistBackendError, "12 bytes, 8 were", lambda: dist.recv(torch.zeros(2), 0))
        t = torch.ones(3)
        dist.all_reduce(t)
        assert (t == n).all()
        dist.destroy_process_group()
        print("fine", flush=True)
    assert forked(body, 2).count("fine") == 2
