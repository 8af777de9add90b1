"""FSDP2, HSDP, DTensor and distributed checkpoints on top of regroup, and what a lost rank does to shards."""
import os

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("regroup.torch._c10d", reason="built without torch")


def test_fsdp_hsdp_dtensor_and_checkpoints_give_what_one_process_gives(forked):
    def body():
        import os
        import tempfile
        import torch
        import torch.distributed as dist
        import torch.distributed.checkpoint as dcp
        from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
        from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
        torch.set_num_threads(1)
        dist.init_process_group("regroup")
        r, n = dist.get_rank(), dist.get_world_size()

        def make():
            torch.manual_seed(3)
            return torch.nn.Sequential(torch.nn.Linear(12, 33), torch.nn.ReLU(), torch.nn.Linear(33, 5))
        x = torch.randn(4 * n, 12, generator=torch.Generator().manual_seed(1))

        def train(model, batch, steps=3):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(steps):
                optimizer.zero_grad()
                model(batch).square().mean().backward()
                optimizer.step()
            return model
        want = train(make(), x).state_dict()
        meshes = [init_device_mesh("cpu", (n,), mesh_dim_names=("shard",))]
        if n == 4:
            meshes.append(init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "shard")))
        for mesh in meshes:
            model = make()
            for layer in (model[0], model[2]):
                fully_shard(layer, mesh=mesh)
            train(fully_shard(model, mesh=mesh), x[4 * r:4 * r + 4])
            for name, p in model.state_dict().items():
                assert torch.allclose(p.full_tensor(), want[name], atol=1e-6), (mesh, name)
        # One folder, made by rank 0.
        box = [tempfile.mkdtemp() if r == 0 else None]
        dist.broadcast_object_list(box, 0)
        dcp.save({"model": get_model_state_dict(model)}, checkpoint_id=box[0])
        other = make()
        with torch.no_grad():
            for p in other.parameters():
                p.zero_()
        for layer in (other[0], other[2]):
            fully_shard(layer, mesh=meshes[0])  # also from another mesh
        fully_shard(other, mesh=meshes[0])
        state = {"model": get_model_state_dict(other)}
        dcp.load(state, checkpoint_id=box[0])
        set_model_state_dict(other, state["model"])
        for name, p in other.state_dict().items():
            assert torch.allclose(p.full_tensor(), want[name], atol=1e-6), name
        whole = torch.arange(float(6 * n)).reshape(2 * n, 3)
        d = distribute_tensor(whole, meshes[0], [Shard(0)])
        assert torch.equal(d.full_tensor(), whole) and d.to_local().shape == (2, 3)
        assert torch.equal(d.redistribute(placements=[Shard(1)]).full_tensor(), whole)
        assert torch.equal((d.T @ d).full_tensor(), whole.T @ whole)
        assert torch.equal(d.sum().redistribute(placements=[Replicate()]).to_local(), whole.sum()) and isinstance(d, DTensor)
        dist.destroy_process_group()
        print("fine", flush=True)
    ranks = int(os.environ.get("SHARDED_RANKS", "4"))
    assert forked(body, ranks, timeout=200).count("fine") == ranks


@pytest.mark.parametrize("kind", ["fsdp", "hsdp"])
def test_a_lost_rank_under_shards_ends_in_an_error_that_names_it_at_every_member(forked, kind):
    def body(hsdp):
        import os, signal
        import torch, torch.distributed as dist
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
        torch.set_num_threads(1)
        dist.init_process_group("regroup", init_method="regroup://", pg_options={"lost_ranks": "error"} if hsdp else None)
        r = dist.get_rank()
        torch.manual_seed(3)
        mesh = init_device_mesh("cpu", (2, 2) if hsdp else (3,), mesh_dim_names=("replicate", "shard") if hsdp else ("shard",))
        model = fully_shard(torch.nn.Linear(64, 64), mesh=mesh)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        try:
            for step in range(2000):
                if r == 1 and step == 3:
                    os.kill(os.getpid(), signal.SIGKILL)
                optimizer.zero_grad()
                model(torch.randn(4, 64)).square().mean().backward()
                optimizer.step()
            print(f"went on rank={r}", flush=True)
        except dist.DistBackendError as e:
            print(f"error rank={r} step={step} {e}", flush=True)
            os._exit(3)  # as an uncaught exception would end it
    ranks = 4 if kind == "hsdp" else 3
    output = forked(body, ranks, kind == "hsdp", lives=1, check=False,
                    environment={"REGROUP_TORCH_LOST_RANKS": "error"} if kind == "hsdp" else None)
    errors = [line for line in output.splitlines() if line.startswith("error ")]
    assert len(errors) == ranks - 1 and "went on" not in output, output
    assert all("is lost" in e or "not in the group" in e for e in errors), errors
    if kind == "fsdp":
        assert all("rank 1 is lost" in e for e in errors), errors
