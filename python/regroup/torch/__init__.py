"""The backend "regroup" of torch.distributed: `dist.init_process_group("regroup")`, also under plain torchrun.

Ranks keep their numbers when one is lost; its contribution is missing. `contributors()` tells who took part in the last
op; `ddp_hook` averages gradients by contributors. See docs/PYTORCH.md.
"""
import typing as _t

import torch as _torch
import torch.distributed as _dist

if _t.TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["Elastic", "StatefulSampler", "contributors", "members", "epoch", "mark", "empty", "ddp_hook", "supports_reconfigure", "get_reconfigure_handle",
           "reconfigure", "abort"]
_module: _t.Any = None


def _load() -> _t.Any:
    """The compiled part, if it was built for this torch."""
    global _module
    if _module is None:
        try:
            from . import _c10d as module
        except ImportError as e:
            raise ImportError(f"regroup: the torch backend cannot be loaded with torch {_torch.__version__}: it was not "
                              f"built, or for another torch. Install again: pip install --no-build-isolation . ({e})") from e
        built, here = module.torch_version, _torch.__version__.split("+")[0]
        if built.split("+")[0] != here:
            raise ImportError(f"regroup: the torch backend was built for torch {built}, this is {here}. "
                              "Install again: pip install --no-build-isolation .")
        _module = module
    return _module


def _backend(group: _t.Any = None) -> _t.Any:
    group = group if group is not None else _dist.group.WORLD
    if group is None:
        raise RuntimeError("regroup: torch.distributed is not initialised")
    backend = group._get_backend(_torch.device("cpu"))
    if not isinstance(backend, _load().RegroupBackend):
        raise RuntimeError(f"regroup: the process group's backend for the CPU is {backend.name()}, not regroup")
    return backend


def contributors(group: _t.Any = None) -> list[int]:
    """Ranks (of the group) that took part in its last op that committed."""
    return _backend(group).contributors()


def members(group: _t.Any = None) -> list[int]:
    """Ranks that are in the group now."""
    return _backend(group).members()


def epoch(group: _t.Any = None) -> int:
    """Number of the membership: it grows with every change."""
    return _backend(group).epoch()


def mark(group: _t.Any = None) -> None:
    """A step ends here: a barrier at which who comes back enters. With pg_options={"explicit_marks": True} (or
    REGROUP_EXPLICIT_MARKS=1) the only such place; else every op is one."""
    _backend(group).mark()


def empty(*size: int, dtype: _torch.dtype = _torch.float32, group: _t.Any = None) -> _torch.Tensor:
    """Zeroed tensor on registered shared memory, which peers on the host read directly. Free it before the group ends."""
    shape = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
    count = 1
    for n in shape:
        count *= n
    return _backend(group).allocate_tensor(count, dtype=dtype, device=_torch.device("cpu")).view(shape)


def ddp_hook(state: _t.Any, bucket: _dist.GradBucket) -> _torch.futures.Future[_torch.Tensor]:
    """Communication hook of DDP: the average over who contributed, not over the size.

        model = DistributedDataParallel(model)
        model.register_comm_hook(None, regroup.torch.ddp_hook)     # state: a process group, or None for the default
    """
    group = state if state is not None else _dist.group.WORLD
    work = group.allreduce([bucket.buffer()], _average())
    return work.get_future().then(lambda done: done.value()[0])


def _average() -> _t.Any:
    options = _dist.AllreduceOptions()
    options.reduceOp = _dist.ReduceOp.AVG
    return options


# Reconfiguration in the shape of PyTorch >= 2.14 and torchcomms, as plain functions.

def supports_reconfigure(group: _t.Any = None) -> bool:
    return True


def get_reconfigure_handle(group: _t.Any = None) -> str:
    """How others find this member's group: coordinator, name, rank and size as text."""
    backend = _backend(group)
    return f"regroup:{backend.coordinator}:{backend.rank()}:{backend.size()}:{backend.root}"


def reconfigure(uuid: str, handles: _t.Sequence[str], timeout: "timedelta | float" = 60.0, group: _t.Any = None) -> _t.Any:
    """A group `uuid` of those whose handles are given, in their order, at the coordinator of the first. Returns a backend.

    Who survives needs none of this: membership changes by itself. It is here for callers written to that interface.
    """
    from . import _rendezvous
    return _rendezvous.reconfigure(_load(), _backend(group), uuid, list(handles), timeout)


def abort(group: _t.Any = None) -> None:
    """Ends the group at this member at once: what is pending raises, the others go on without it."""
    _backend(group).abort()


def __getattr__(name: str) -> _t.Any:  # not at import: torch imports this module to register the backend
    if name in ("Elastic", "StatefulSampler"):
        from . import elastic
        return getattr(elastic, name)
    raise AttributeError(f"module 'regroup.torch' has no attribute {name!r}")
