"""Regroup: collectives that outlive their ranks.

    import numpy, regroup
    group = regroup.join()                      # REGROUP_*, RANK and WORLD_SIZE of the environment (`regroup run`)
    gradient = group.empty((1 << 20,), "float32")   # registered: peers on the host read it directly
    outcome = group.all_reduce(gradient, op=regroup.AVG)
    outcome.contributors                        # who took part; a dead member is missing, nobody else notices

`regroup.torch` is the backend of torch.distributed.
"""
from __future__ import annotations

import contextlib as _contextlib
import typing as _t

import numpy as _np

from . import errors
from ._core import Group, MemberId, Options, Outcome, ReduceOp, View, Work, _join
from .errors import (Cancelled, Closed, ConfigError, Error, Evicted, Invalid, Mismatch, NoMemory, Refused, SystemFailure,
                     TimeoutError, Unavailable, Unsupported, ViewChanged)

SUM, AVG, PROD, MIN, MAX = ReduceOp.SUM, ReduceOp.AVG, ReduceOp.PROD, ReduceOp.MIN, ReduceOp.MAX
__version__ = "0.1.0"
__all__ = ["Group", "MemberId", "Options", "Outcome", "ReduceOp", "View", "Work", "join", "errors", "SUM", "AVG", "PROD", "MIN",
           "MAX", "Cancelled", "Closed", "ConfigError", "Error", "Evicted", "Invalid", "Mismatch", "NoMemory", "Refused",
           "SystemFailure", "TimeoutError", "Unavailable", "Unsupported", "ViewChanged"]


def join(options: Options | None = None, *, state: dict[str, _t.Any] | None = None,
         on_restored: _t.Callable[[], None] | None = None, on_view: _t.Callable[[View], None] | None = None,
         **keywords: _t.Any) -> Group:
    """Joins a group; returns when the first view that holds this member is installed.

    options: default Options.from_environment(). keywords: options by name (rank=0, world_size=4, transport="shm", ...).
    state: arrays by name that a returning member has filled from a living one before it contributes.
    on_restored: called on the joining thread after that; on_view: on another thread at every view, must return quickly.
    Raises ConfigError, Refused, Unavailable, TimeoutError.
    """
    if options is None:
        options = Options.from_environment()
    for key, value in keywords.items():
        options.set(key, str(int(value)) if isinstance(value, bool) else str(value))
    return _join(options, state, on_restored, on_view)


def _empty(self: Group, shape: _t.Any, dtype: _t.Any = "float32") -> _np.ndarray:
    """Zeroed array on registered shared memory; torch.from_numpy() makes a tensor of it."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    dtype = _np.dtype(dtype)
    nbytes = int(_np.prod(shape, dtype=_np.int64)) * dtype.itemsize
    return self.allocate(nbytes).view(dtype).reshape(shape)


@_contextlib.contextmanager
def _grouped(self: Group) -> _t.Iterator[None]:
    """Asynchronous collectives inside are launched together at the end of the block."""
    self.group_start()
    try:
        yield
    finally:
        self.group_end()


def _enter(self: Group) -> Group:
    return self


def _exit(self: Group, kind: _t.Any, value: _t.Any, trace: _t.Any) -> None:
    if kind is None:
        with _contextlib.suppress(Error):
            self.leave(5)
    self.close()


for _name, _function in (("empty", _empty), ("grouped", _grouped), ("__enter__", _enter), ("__exit__", _exit)):
    setattr(Group, _name, _function)
