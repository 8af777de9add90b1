"""The torch-free binding: values, blocking and asynchronous ops, memory, errors, signals, a death."""
import importlib.resources
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import regroup


def alone(**options):
    """A group of one, at a coordinator of its own."""
    return regroup.join(rank=0, world_size=1, **options)


@pytest.fixture
def coordinator(tmp_path, monkeypatch):
    from regroup._command import program
    process = subprocess.Popen([program(), "coordinator", "--log", str(tmp_path / "log"), "--create"],
                               stdout=subprocess.PIPE, text=True)
    monkeypatch.setenv("REGROUP_COORDINATOR", process.stdout.readline().split()[1])
    yield
    process.terminate()
    process.wait(10)


def test_every_type_and_operation_gives_the_expected_values(ranks):
    def body():
        import numpy as np
        import regroup
        with regroup.join() as g:
            n, r = len(g.view()), g.rank
            for dtype in ("f8", "f4", "f2", "i1", "u1", "i4", "u4", "i8", "u8"):
                mine = (np.arange(40) % 3 + 1 + r).astype(dtype)
                every = np.stack([(np.arange(40) % 3 + 1 + k).astype(dtype) for k in range(n)])
                for op, want in ((regroup.SUM, every.sum(0)), (regroup.PROD, every.prod(0)), (regroup.MIN, every.min(0)),
                                 (regroup.MAX, every.max(0)), (regroup.AVG, every.sum(0) / n)):
                    out = np.zeros_like(mine)
                    outcome = g.all_reduce(mine, out, op)
                    assert outcome.contributors == n
                    assert (out == want.astype(dtype)).all(), (dtype, op, out, want)
            mine = np.arange(6, dtype="i8") + 100 * r
            everybody = np.zeros((n, 6), "i8")
            g.all_gather(mine, everybody)
            assert (everybody == np.stack([np.arange(6) + 100 * k for k in range(n)])).all()
            part = np.zeros(2, "i8")
            g.reduce_scatter(np.arange(2 * n, dtype="i8"), part)
            assert (part == n * np.arange(2 * r, 2 * r + 2)).all()
            out = np.zeros(n, "i8")
            g.all_to_all(np.arange(n, dtype="i8") + 10 * r, out)
            assert (out == 10 * np.arange(n) + r).all()
            b = np.full(5, r, "f4")
            g.broadcast(b, 1)
            assert (b == 1).all()
            root = np.zeros((n, 5), "f4") if r == 0 else None
            g.gather(np.full(5, r, "f4"), 0, root)
            assert r != 0 or (root[:, 0] == np.arange(n)).all()
            got = np.zeros(3)
            g.scatter(got, 0, np.arange(3.0 * n).reshape(n, 3) if r == 0 else None)
            assert (got == np.arange(3) + 3 * r).all()
            if r == 0:
                g.send(np.arange(7), 1)
            elif r == 1:
                take = np.zeros(7, "i8")
                g.recv(take, 0)
                assert (take == np.arange(7)).all()
            g.barrier()
    ranks(body, 3)


def test_asynchronous_ops_may_lose_their_handle_and_their_arrays(ranks):
    def body():
        import gc
        import numpy as np
        import regroup
        with regroup.join() as g:
            for _ in range(50):
                g.all_reduce_async(np.ones(50000, "f4"))
            gc.collect()
            x = np.ones(3)
            with g.grouped():
                works = [g.all_reduce_async(x.copy()) for _ in range(4)]
            assert [w.wait().contributors for w in works] == [2] * 4
            assert all(w.done() for w in works)
            view = g.split(0, key=-g.rank)
            assert len(view.view()) == 2 and view.rank == 1 - g.rank
            view.close()
            assert g.split(None if g.rank else 1) is None or g.rank == 0
    ranks(body)


def test_registered_memory_outlives_its_group_object(ranks):
    def body():
        import numpy as np
        import regroup
        g = regroup.join()
        a = g.empty((3, 5), "float64")
        assert a.shape == (3, 5) and (a == 0).all() and a.flags.writeable
        a[:] = g.rank + 1
        g.all_reduce(a)
        assert (a == 3).all()
        g.leave(5)
        g.close()
        a += 1
        assert (a == 4).all()
        try:
            g.all_reduce(a)
            raise AssertionError("closed groups take no ops")
        except regroup.Closed:
            pass
    ranks(body)


def test_bad_input_says_what_before_anything_is_sent(coordinator):
    with alone() as g:
        for bad, why in ((np.zeros(3, "c8"), "element type"), (np.zeros((4, 4))[:, 1], "contiguous"), ("text", "contiguous")):
            with pytest.raises(regroup.Invalid, match=why) as caught:
                g.all_reduce(bad)
            assert caught.value.code == "kInvalid" and isinstance(caught.value, ValueError)
        fixed = np.zeros(3)
        fixed.flags.writeable = False
        with pytest.raises(regroup.Invalid, match="writable"):
            g.all_reduce(fixed)
        with pytest.raises(regroup.Invalid, match="contiguous"):
            g.all_gather(np.zeros(3), np.zeros((3, 2))[:, 0])
        with pytest.raises(regroup.Invalid, match="elements"):
            g.all_reduce(np.zeros(3), np.zeros(4))
        with pytest.raises(regroup.Invalid, match="types"):
            g.all_reduce(np.zeros(3), np.zeros(3, "f4"))
        with pytest.raises(regroup.Invalid, match="elements"):
            g.all_gather(np.zeros(3), np.zeros(7))
        assert g.all_reduce(np.ones(3)).op == 1  # none of them took a number
    with pytest.raises(regroup.ConfigError, match="no_such"):
        regroup.join(rank=0, world_size=1, no_such=1)


def test_a_dead_member_is_missing_and_nobody_else_notices(ranks):
    def body():
        import numpy as np
        import regroup
        g = regroup.join()
        counts = []
        for step in range(60):
            x = np.full(100000, 1.0)
            counts.append(g.all_reduce(x).contributors)
            assert (x == counts[-1]).all()
        assert counts[0] == 3 and counts[-1] == 2 and sorted(counts, reverse=True) == counts, counts
        print("survived", flush=True)
    done = ranks(body, 3, run=["--chaos", "kill:1@failpoint:after_first_chunk#20"], check=False)
    assert done.stdout.count("survived") == 2, done.stdout + done.stderr


def test_a_returning_member_is_given_the_state(ranks):
    def body():
        import numpy as np
        import regroup
        state, step = np.zeros(1000), np.zeros(1, "i8")
        restored = []
        g = regroup.join(state={"w": state, "step": step}, on_restored=lambda: restored.append(1), explicit_marks=True)
        while step[0] < 400:
            x = np.ones(1000)
            n = g.all_reduce(x, mark=True).contributors
            state += x / n
            step += 1
        assert (state == 400).all(), state[:3]
        print("state", len(restored), flush=True)
        g.leave(5)
    done = ranks(body, 3, run=["--restart", "--chaos", "kill:2@time:1500ms"], timeout=60, check=False)
    assert done.stdout.count("state") >= 2, done.stdout + done.stderr


def test_ctrl_c_ends_a_join(coordinator):
    code = ("import regroup, numpy\n"
            "g = regroup.join(rank=0, world_size=1)\n"
            "print('waits', flush=True)\n"
            "try:\n  regroup.join(rank=0, world_size=2, group='default/more', join_timeout_s=20)\n"
            "except (regroup.Error, KeyboardInterrupt) as e: print(type(e).__name__, e)\n")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "waits\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    assert process.wait(20) == 0
    said = process.stdout.read()
    assert "Interrupt" in said and time.monotonic() - begin < 3, said


def test_a_wait_is_interrupted_while_the_others_are_away(ranks):
    def body():
        import os, signal, threading, time
        import numpy as np
        import regroup
        g = regroup.join()
        g.barrier()
        if g.rank == 0:
            threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            begin = time.monotonic()
            try:
                g.all_reduce(np.zeros(4))
                raise AssertionError("not interrupted")
            except KeyboardInterrupt:
                assert time.monotonic() - begin < 1.5
            try:
                g.barrier_async().wait(0.2)
                raise AssertionError("no time-out")
            except regroup.TimeoutError as e:
                assert e.code == "kTimeout"
        else:
            time.sleep(2)  # so long is rank 1 away
            g.all_reduce(np.zeros(4))
            g.barrier()
        g.barrier()
    ranks(body)


def test_the_package_is_typed_and_brings_the_command(tmp_path):
    files = importlib.resources.files("regroup")
    assert (files / "py.typed").is_file()
    stub = (files / "_core.pyi").read_text()
    assert "class Outcome" in stub
    group = stub[stub.index("class Group:"):]
    for name in [n for n in vars(regroup.Group) if not n.startswith("_")] + ["__enter__", "__exit__"]:
        assert f"def {name}(self" in group, name
    command = os.path.join(os.path.dirname(sys.executable), "regroup")
    done = subprocess.run([command, "run", "-n", "2", "--", "true"], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
