"""What makes up a training run, as Elastic and its catch-up (_replay.py) share it: parts, how far it is, where it is saved."""
import os
import typing as t

import torch
import torch.distributed as dist

from . import _backend
from ._sampler import StatefulSampler


class Run:
    def __init__(self, parts: dict[str, t.Any], sampler: t.Optional[StatefulSampler], rng: bool, group: t.Any,
                 checkpoint: t.Optional[str]) -> None:
        for name, part in parts.items():
            if not (hasattr(part, "state_dict") and hasattr(part, "load_state_dict")):
                raise TypeError(f"Elastic: {name} has no state_dict() and load_state_dict()")
        self._group = group if group is not None else dist.group.WORLD
        self._backend = _backend(self._group)
        self.rank: int = self._backend.rank()
        self.sampler, self.rng, self.checkpoint, self._parts = sampler, rng, checkpoint, parts
        self.step = 0  # done so far
        self.members: list[int] = []  # ranks that take part in the step
        self._known: t.Optional[list[int]] = None  # members as last agreed on; None: this rank has not been given the state

    def state_dict(self) -> dict[str, t.Any]:
        state: dict[str, t.Any] = {name: part.state_dict() for name, part in self._parts.items()}
        state["elastic"] = {"step": self.step, "sampler": self.sampler.state_dict() if self.sampler else None,
                            "rng": torch.get_rng_state() if self.rng else None}
        return state

    def load_state_dict(self, state: dict[str, t.Any]) -> None:
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        own = state["elastic"]
        self.step = own["step"]
        if self.sampler is not None:
            self.sampler.load_state_dict(own["sampler"])
        if self.rng and own["rng"] is not None:
            torch.set_rng_state(own["rng"])

    def save(self, path: str) -> None:
        """A checkpoint, written whole or not at all."""
        with open(path + ".part", "wb") as file:
            torch.save(self.state_dict(), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".part", path)

    def load(self, path: str) -> None:
        self.load_state_dict(torch.load(path, weights_only=True))
