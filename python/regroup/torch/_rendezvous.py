"""How ranks of torch.distributed find their coordinator: REGROUP_COORDINATOR, else one that rank 0 starts and announces in
the store. It is a process of its own and outlives rank 0; it ends when all have left, or nobody is connected any more."""
from __future__ import annotations

import atexit
import os
import socket
import subprocess
import tempfile
import time
import typing as t
import uuid as uuids
from datetime import timedelta

import torch.distributed as dist

from .._command import program

IDLE_EXIT_S = 30
_generation = 0  # default groups that this process has made so far: a store may see several


def _seconds(timeout: t.Any) -> float:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)


def _host() -> str:
    """Where the others reach rank 0: MASTER_ADDR if that is this host, else loopback (a store of files: one host)."""
    host = os.environ.get("MASTER_ADDR", "")
    try:
        address = socket.getaddrinfo(host, 0, socket.AF_INET)[0][4][0] if host else "127.0.0.1"
        with socket.socket() as probe:
            probe.bind((address, 0))
        return address
    except OSError:
        return "127.0.0.1"


def _start(group: str) -> str:
    folder = tempfile.mkdtemp(prefix="regroup-torch-")
    command = [program(), "coordinator", "--listen", f"{_host()}:0", "--group", group, "--log", os.path.join(folder, "log"),
               "--adopt", "--detach", "--exit-when-left", "--idle-exit", str(IDLE_EXIT_S)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=30,
                          stdin=subprocess.DEVNULL, start_new_session=True)
    words = done.stdout.split()
    if len(words) != 2 or words[0] != "coordinator":
        raise RuntimeError(f"regroup: no coordinator could be started: {done.stderr.strip() or done.stdout.strip()}")
    return words[1]


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), 1).close()
        return True
    except OSError:
        return False


def _announced(store: t.Any, rank: int, timeout_s: float, number: int) -> tuple[str, str]:
    """(coordinator, name of its own group). Rank 0 announces; who comes back finds what was announced."""
    global _generation
    latest = "regroup/latest"
    if number == 0 and store.check([latest]):
        number = int(store.get(latest))  # a new process among old ones
        _generation = max(_generation, number + 1)
    key = f"regroup/coordinator/{number}"
    until = time.monotonic() + timeout_s
    if rank == 0:
        if store.check([key]):
            address, root = store.get(key).decode().split(" ")
            if _listens(address):
                return address, root
        root = f"torch-{uuids.uuid4().hex[:12]}"
        address = _start(root)
        store.set(key, f"{address} {root}")
        store.set(latest, str(number))
        return address, root
    while True:
        store.wait([key], timedelta(seconds=max(0.001, until - time.monotonic())))
        address, root = store.get(key).decode().split(" ")
        if _listens(address):
            return address, root
        if time.monotonic() > until:
            raise RuntimeError(f"regroup: the coordinator at {address}, which rank 0 announced, cannot be reached")
        time.sleep(0.05)  # rank 0 comes back and starts another


def of_launch() -> tuple[t.Any, int, int]:
    """init_method="regroup://": rank and size of `regroup run`, no server of torch's, so that rank 0 can come back too. The
    store is this process's own: enough for groups on Regroup, which meet at the coordinator."""
    try:
        os.environ["REGROUP_COORDINATOR"]  # meets the others
        rank = int(os.environ.get("REGROUP_RANK") or os.environ["RANK"])
        size = int(os.environ.get("REGROUP_WORLD_SIZE") or os.environ["WORLD_SIZE"])
    except (KeyError, ValueError) as e:
        raise ValueError(f'init_method="regroup://" takes REGROUP_COORDINATOR, REGROUP_RANK and REGROUP_WORLD_SIZE, which '
                         f"`regroup run` sets: {e}") from e
    return dist.HashStore(), rank, size


class _Handle:
    """A backend that is to be shut down at exit."""

    def __init__(self, backend: t.Any, is_default: bool) -> None:
        self.backend, self.is_default = backend, is_default


_handles: list[_Handle] = []


def _options(pg_options: t.Any) -> tuple[dict[str, str], tuple[bool, bool, bool, bool]]:
    """Of the core by name, and the adapter's own four: REGROUP_TORCH_* or a dict given as pg_options."""
    given = {k: (str(int(v)) if isinstance(v, bool) else str(v)) for k, v in pg_options.items()} if isinstance(pg_options, dict) else {}

    def flag(name: str) -> bool:
        return given.pop(name, os.environ.get("REGROUP_TORCH_" + name.upper(), "0")) not in ("0", "", "false", "False")
    lost = given.pop("lost_ranks", os.environ.get("REGROUP_TORCH_LOST_RANKS", "go_on"))
    if lost not in ("go_on", "error"):
        raise ValueError(f"regroup: lost_ranks is go_on or error, not {lost!r}")
    elastic = given.pop("elastic", "0") not in ("0", "False")  # joined where Elastic.steps() begins
    if elastic:
        given["explicit_marks"] = "1"
    return given, (flag("fixed_divisor"), flag("stand_in_root"), lost == "error", elastic)


def create(module: t.Any, options: t.Any, pg_options: t.Any) -> t.Any:
    """A backend for torch's _DistributedBackendOptions."""
    global _generation
    core, own = _options(pg_options)
    timeout_s = _seconds(options.timeout)
    default = not dist.is_initialized()
    parent = None if default else next((h.backend for h in reversed(_handles) if h.is_default), None)
    if parent is not None:
        coordinator, root = parent.coordinator, parent.root
        group = f"{root}/{options.group_id}"
    elif os.environ.get("REGROUP_COORDINATOR"):
        coordinator = os.environ["REGROUP_COORDINATOR"]
        root = os.environ.get("REGROUP_GROUP", "default")
        group = root if default else f"{root}/{options.group_id}"
    else:
        number = _generation if default else 0
        if default:
            _generation += 1
        coordinator, root = _announced(options.store, options.group_rank, min(timeout_s, 300), number)
        group = root
    os.environ.setdefault("DDP_DISABLE_COMM_MEM", "0")  # buckets of DDP in registered memory (RegroupBackend.allocateTensor)
    backend = module.create(options.group_rank, options.group_size, timeout_s, coordinator, group, root, core, *own)
    _handles[:] = [h for h in _handles if not (default and h.is_default)]
    _handles.append(_Handle(backend, default))
    return backend


def reconfigure(module: t.Any, backend: t.Any, uuid: str, handles: list[str], timeout: t.Any) -> t.Any:
    mine = f"regroup:{backend.coordinator}:{backend.rank()}:{backend.size()}:{backend.root}"
    if mine not in handles:
        raise ValueError("regroup: reconfigure: this member's own handle is not among those given")
    if len(set(handles)) != len(handles):
        raise ValueError("regroup: reconfigure: a handle is given twice")
    made = module.create(handles.index(mine), len(handles), _seconds(timeout), backend.coordinator,
                         f"{backend.root}/re-{uuid}", backend.root, {}, False, False, False)
    _handles.append(_Handle(made, False))
    return made


@atexit.register
def _leave() -> None:
    """Who ends without destroy_process_group leaves all the same; nobody has to suspect anything."""
    for handle in reversed(_handles):
        try:
            handle.backend.shutdown()
        except Exception:  # noqa: BLE001  (at exit there is nobody to tell)
            pass
    _handles.clear()
