"""The torch backend under torchrun: values over dtypes and operations."""
import inspect
import os
import subprocess
import sys
import textwrap

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("regroup.torch._c10d", reason="built without torch")


def torchrun(function, ranks=2, timeout=120, tmp_path=None, check=True, environment=None):
    """Plain torchrun, nothing else set."""
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(inspect.getsource(function)) + f"\n{function.__name__}()\n")
    environment = {**{k: v for k, v in os.environ.items() if not k.startswith("REGROUP_")}, **(environment or {})}
    done = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks),
                           str(program)], capture_output=True, text=True, timeout=timeout, env=environment)
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_values_over_dtypes_and_operations_under_plain_torchrun(tmp_path):
    def body():
        import torch
        import torch.distributed as dist
        dist.init_process_group("regroup")
        r, n = dist.get_rank(), dist.get_world_size()
        op = dist.ReduceOp
        fold = {op.SUM: lambda t: t.sum(0), op.PRODUCT: lambda t: t.prod(0), op.MIN: lambda t: t.min(0).values,
                op.MAX: lambda t: t.max(0).values}
        bits = {op.BAND: torch.bitwise_and, op.BOR: torch.bitwise_or, op.BXOR: torch.bitwise_xor}
        real = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64]
        for dtype in real:
            every = torch.stack([(torch.arange(24) % 3 + 1 + k).to(dtype) for k in range(n)])
            for o, f in fold.items():
                want = f(every.double()).to(dtype)
                t = every[r].clone()
                dist.all_reduce(t, op=o)
                assert torch.equal(t, want), (dtype, o, t, want)
                t = every[r].clone()
                dist.reduce(t, 1, op=o)
                assert r != 1 or torch.equal(t, want)
                part = torch.empty(24 // n, dtype=dtype)
                dist.reduce_scatter_tensor(part, every[r].clone(), op=o)
                assert torch.equal(part, want[r * (24 // n):(r + 1) * (24 // n)]), (dtype, o)
            t = every[r].clone()
            dist.all_reduce(t, op=op.AVG)
            mean = every.double().sum(0) / n
            assert torch.equal(t, (mean if dtype.is_floating_point else mean.trunc()).to(dtype)), (dtype, t)
            if not dtype.is_floating_point:
                for o, f in bits.items():
                    want = every[0].clone()
                    for k in range(1, n):
                        want = f(want, every[k])
                    t = every[r].clone()
                    dist.all_reduce(t, op=o)
                    assert torch.equal(t, want), (dtype, o)
        for dtype in (torch.complex64, torch.complex128):
            t = torch.full((5,), complex(r + 1, -r), dtype=dtype)
            dist.all_reduce(t)
            assert torch.equal(t, torch.full((5,), complex(n * (n + 1) / 2, -n * (n - 1) / 2), dtype=dtype))
        for o, want in ((op.SUM, [True, True]), (op.PRODUCT, [True, False]), (op.BXOR, [n % 2 == 1, True])):
            t = torch.tensor([True, r == 0])
            dist.all_reduce(t, op=o)
            assert t.tolist() == want, (o, t)
        t = torch.ones(3)
        dist.all_reduce(t, op=dist._make_nccl_premul_sum(2.0))
        assert t[0] == 2 * n
        for dtype in real + [torch.bool, torch.complex64, torch.float8_e4m3fn]:
            mine = (torch.arange(6) % 2 + r).to(dtype)
            raw = [(torch.arange(6) % 2 + k).to(dtype) for k in range(n)]
            same = lambda a, b: torch.equal(a.view(torch.uint8), b.view(torch.uint8))
            outs = [torch.empty(6, dtype=dtype) for _ in range(n)]
            dist.all_gather(outs, mine)
            assert all(same(a, b) for a, b in zip(outs, raw)), dtype
            whole = torch.empty(6 * n, dtype=dtype)
            dist.all_gather_into_tensor(whole, mine)
            assert same(whole, torch.cat([x.view(torch.uint8) for x in raw]).view(dtype))
            b = raw[r].clone()
            dist.broadcast(b, 1)
            assert same(b, raw[1])
            outs = [torch.empty(6, dtype=dtype) for _ in range(n)] if r == 0 else None
            dist.gather(mine, outs, 0)
            assert r != 0 or all(same(a, b) for a, b in zip(outs, raw))
            got = torch.empty(6, dtype=dtype)
            dist.scatter(got, raw if r == 1 else None, 1)
            assert same(got, mine)
            outs = [torch.empty(r + 1, dtype=dtype) for _ in range(n)]
            dist.all_to_all(outs, [mine[:1].expand(k + 1).contiguous() for k in range(n)])
            assert all(same(outs[k], raw[k][:1].expand(r + 1).contiguous()) for k in range(n))
        outs = [torch.empty(3 + k) for k in range(n)]
        dist.all_gather(outs, torch.full((3 + r,), float(r)))
        assert all((outs[k] == k).all() for k in range(n))
        objects = [None] * n
        dist.all_gather_object(objects, {"rank": r})
        assert [o["rank"] for o in objects] == list(range(n))
        dist.barrier()
        work = dist.all_reduce(torch.ones(4), async_op=True)
        assert work.get_future().wait()[0].tolist() == [float(n)] * 4 and work.wait() and work.is_completed()
        if r == 0:
            for tag in (7, 8):
                dist.send(torch.full((4,), float(tag)), 1, tag=tag)
        elif r == 1:
            got = torch.empty(4)
            dist.recv(got, 0, tag=8)
            assert got[0] == 8
            assert dist.recv(got, tag=7) == 0 and got[0] == 7
        group = dist.new_group(list(range(n - 1, -1, -1)))
        t = torch.ones(2)
        dist.all_reduce(t, group=group)
        assert t[0] == n
        with dist._coalescing_manager():
            a, b = torch.ones(2), torch.ones(3)
            dist.all_reduce(a)
            dist.all_reduce(b)
        assert a[0] == n and b[0] == n
        dist.destroy_process_group()
        dist.init_process_group("regroup")  # again, in the same job
        dist.all_reduce(t)
        assert t[0] == n * n
        dist.destroy_process_group()
        print("fine", flush=True)
    done = torchrun(body, 3, tmp_path=tmp_path)
    assert done.stdout.count("fine") == 3, done.stdout + done.stderr


def test_ddp_takes_its_buckets_from_memory_that_peers_read_directly(forked):
    def body(wanted):
        import torch
        import torch.distributed as dist
        from torch.nn.parallel import DistributedDataParallel as DDP
        dist.init_process_group("regroup")
        seen = []

        def hook(_, bucket):
            at = bucket.buffer().data_ptr()
            for line in open("/proc/self/maps"):
                first, last = (int(x, 16) for x in line.split()[0].split("-"))
                if first <= at < last:
                    seen.append("memfd" in line)
            work = dist.all_reduce(bucket.buffer(), async_op=True)
            return work.get_future().then(lambda f: f.value()[0])
        model = torch.nn.Linear(300, 300)
        ddp = DDP(model)
        ddp.register_comm_hook(None, hook)
        for _ in range(3):
            ddp(torch.ones(2, 300)).sum().backward()
        assert seen == [wanted] * 3, seen
        dist.destroy_process_group()
        del ddp  # the buckets outlive the group
        print("fine", flush=True)
    assert forked(body, 2, True).count("fine") == 2  # as init_process_group leaves it
    assert forked(body, 2, False, environment={"DDP_DISABLE_COMM_MEM": "1"}).count("fine") == 2  # as the user says
