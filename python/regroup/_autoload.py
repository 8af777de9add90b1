"""Entry point `torch.backends`: torch calls it at the end of its own import. Only registers names; nothing is loaded yet.
Apart from regroup.torch, which may be what imports torch."""
import typing as t


def register() -> None:
    import torch.distributed as dist
    if not dist.is_available() or "regroup" in dist.Backend.backend_list:
        return
    from torch.distributed.rendezvous import register_rendezvous_handler
    dist.Backend.register_backend("regroup", _create, extended_api=True, devices=["cpu"])
    register_rendezvous_handler("regroup", _launch)


def _create(options: t.Any, pg_options: t.Any = None) -> t.Any:
    from .torch import _load, _rendezvous
    return _rendezvous.create(_load(), options, pg_options)


def _launch(url: str, timeout: t.Any = None, **_: t.Any) -> t.Iterator[t.Any]:
    from .torch import _rendezvous
    yield _rendezvous.of_launch()
    raise RuntimeError("regroup: this rendezvous is made once")
