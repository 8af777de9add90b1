"""StatefulSampler: who is given which sample, across changes of the membership."""
import typing as t

import torch


class StatefulSampler:
    """A shuffled stream of indices, the same at every rank; draw() cuts a batch into the members' parts. Every sample of an
    epoch is given to exactly one member of the membership that drew it. State: epoch, position, and what was given back."""

    def __init__(self, size: int, seed: int = 0) -> None:
        if size < 1:
            raise ValueError("StatefulSampler: size must be positive")
        self.size, self.seed, self.epoch, self.position = size, seed, 0, 0
        self.returned: list[int] = []  # drawn by members that were lost; given before anything else
        self._order: t.Optional[torch.Tensor] = None
        self._last: dict[int, torch.Tensor] = {}

    def _shuffled(self) -> torch.Tensor:
        if self._order is None:
            generator = torch.Generator().manual_seed(self.seed * 1000003 + self.epoch)
            self._order = torch.randperm(self.size, generator=generator)
        return self._order

    def draw(self, per_member: int, members: t.Sequence[int], rank: int) -> torch.Tensor:
        """The next per_member * len(members) samples (fewer at the end of an epoch): this rank's part of them."""
        want = per_member * len(members)
        again, self.returned = self.returned[:want], self.returned[want:]
        if self.position >= self.size and not again:
            self.epoch, self.position, self._order = self.epoch + 1, 0, None
        fresh = self._shuffled()[self.position:self.position + want - len(again)]
        self.position += len(fresh)
        part = torch.cat([torch.tensor(again, dtype=fresh.dtype), fresh])
        self._last = {m: part[i::len(members)] for i, m in enumerate(members)}
        return self._last[rank]

    def give_back(self, rank: int) -> None:
        """What `rank` was given by the last draw() is drawn again. Called for the same ranks at every member."""
        self.returned += self._last.pop(rank, torch.empty(0)).tolist()

    def state_dict(self) -> dict[str, t.Any]:
        return {"size": self.size, "seed": self.seed, "epoch": self.epoch, "position": self.position, "returned": list(self.returned)}

    def load_state_dict(self, state: dict[str, t.Any]) -> None:
        if state["size"] != self.size:
            raise ValueError(f"StatefulSampler: state of {state['size']} samples, this one has {self.size}")
        self.seed, self.epoch, self.position, self._order = state["seed"], state["epoch"], state["position"], None
        self.returned, self._last = list(state["returned"]), {}
