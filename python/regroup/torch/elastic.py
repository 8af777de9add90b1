"""Elastic: a training loop that survives its ranks.

    elastic = regroup.torch.Elastic(model=model, optimizer=optimizer, scheduler=scheduler, sampler=sampler)
    for step in elastic.steps(1000):
        batch = dataset[elastic.indices(64)]
        optimizer.zero_grad(); loss(model(batch)).backward(); optimizer.step()

A step is done when its body has ended. Who comes back (a new process with the same rank) is given the state of the lowest
rank that lives before its first step, and goes on at that step. Samples are drawn from one stream for all ranks: each goes
to one member; those of a member that was lost before its step's last op are given again.

With `update` (what makes the next state of averaged gradients; elastic.update() in place of optimizer.step()) nobody waits
for who comes back: it fetches the state and replays the steps since then while the others go on (_replay.py).
"""
import inspect
import os
import typing as t

import torch
import torch.distributed as dist

from . import ddp_hook
from ._replay import Replay
from ._run import Run
from ._sampler import StatefulSampler

__all__ = ["Elastic", "StatefulSampler"]


class Elastic(Run):
    """Registers what makes up a training run. Anything with state_dict() and load_state_dict() can be registered by name.

    checkpoint: a file that the lowest rank writes after every `checkpoint_every` steps, and that the lowest rank reads where
    all begin anew; the others are given what it read. With `update` everybody reads it, where it is there.

    update: turns averaged gradients into the next state, e.g. `lambda: (optimizer.step(), scheduler.step())`, and is all that
    changes what is registered. Called by update(), as the last thing of a step, and for every step that is replayed. Needs
    init_process_group("regroup", pg_options={"elastic": True}). See docs/PYTORCH.md for what can be replayed.
    """

    def __init__(self, *, sampler: t.Optional[StatefulSampler] = None, group: t.Any = None, rng: bool = True,
                 checkpoint: t.Optional[str] = None, checkpoint_every: int = 100,
                 update: t.Optional[t.Callable[[], t.Any]] = None, **parts: t.Any) -> None:
        if checkpoint_every < 1:
            raise ValueError("Elastic: checkpoint_every must be positive")
        super().__init__(parts, sampler, rng, group, checkpoint)
        if not self._backend.explicit_marks:
            raise RuntimeError('Elastic: say where ranks may enter: init_process_group("regroup", '
                               'pg_options={"explicit_marks": True}), or REGROUP_EXPLICIT_MARKS=1')
        if update is not None and not self._backend.deferred:
            raise RuntimeError('Elastic: update= needs init_process_group("regroup", pg_options={"elastic": True}): the state '
                               "is registered when the group is joined")
        self.changes = 0  # of the membership, as this member saw them
        self.checkpoint_every = checkpoint_every
        self._joined = False
        self._replay = Replay(self, update) if update is not None else None

    def indices(self, per_member: int) -> torch.Tensor:
        """This member's samples of the step."""
        if self.sampler is None:
            raise RuntimeError("Elastic: indices() needs a sampler")
        if self._replay:
            self._replay.drawn.append(per_member)
        return self.sampler.draw(per_member, self.members, self.rank)

    def update(self) -> None:
        """The step's gradients are averaged: ends the step and makes the next state. Nothing is sent behind it in a step."""
        if self._replay is None:
            raise RuntimeError("Elastic: update() needs update= (what makes the next state)")
        self._replay.update()

    def caught_up(self) -> dict[str, t.Any]:
        """How this member caught up: seconds, snapshots (0: it was there from the start), steps replayed."""
        return dict(self._backend.caught_up())

    def steps(self, n: int) -> t.Iterator[int]:
        """Steps up to number n. Between two of them the members agree on who takes part; a new one is given the state."""
        if self._backend.deferred and not self._joined:
            self._joined = True
            self._replay.join() if self._replay else self._backend.join_now()
        while True:
            self._agree()
            if self.step >= n:
                return
            before = self.step
            yield before
            if self._replay:
                self._replay.check_over(before)
            else:
                self.step += 1
            if self.checkpoint and self.rank == min(self.members) and self.step % self.checkpoint_every == 0:
                self.save(self.checkpoint)

    def ddp(self, model: torch.nn.Module, **keywords: t.Any) -> torch.nn.Module:
        """DistributedDataParallel that a returning rank can make alone: nothing is sent when it is made, its buckets never
        change, and gradients are averaged over who contributed."""
        hook, state = (self._replay.hook, None) if self._replay else (ddp_hook, self._group)
        ddp = torch.nn.parallel.DistributedDataParallel
        buffers = "forward_sync_buffers" if "forward_sync_buffers" in inspect.signature(ddp).parameters else "broadcast_buffers"
        wrapped = ddp(model, process_group=self._group, init_sync=False, find_unused_parameters=True, **{buffers: False}, **keywords)
        wrapped.register_comm_hook(state, hook)
        return wrapped

    def average(self, model: torch.nn.Module) -> None:
        """For plain modules: gradients become their average over who contributed."""
        having = [p for p in model.parameters() if p.grad is not None]
        grads = [p.grad for p in having]
        flat = torch._utils._flatten_dense_tensors(grads)
        if self._replay:
            self._replay.average(flat, having).wait()
        else:
            dist.all_reduce(flat, op=dist.ReduceOp.AVG, group=self._group)
        for grad, value in zip(grads, torch._utils._unflatten_dense_tensors(flat, grads)):
            grad.copy_(value)

    def _agree(self) -> None:
        # Members end the step at a mark, where who comes back enters; behind it all tell what they have done: step + 1, or
        # 0 of who has just begun. One outcome, so all see the same members. Who is behind is given the state.
        if self._known is not None and not self._replay:
            self._give_back_lost(self._backend.contributors())  # of the step's last op
            self._backend.mark()
        mine = torch.zeros(self._backend.size(), dtype=torch.int64)
        while True:
            mine.zero_()
            mine[self.rank] = 0 if self._known is None else self.step + 1
            dist.all_reduce(mine, op=dist.ReduceOp.MAX, group=self._group)
            now = self._backend.contributors()
            told = [int(mine[rank]) for rank in now]
            if min(told) == max(told) != 0:
                break
            source = now[told.index(max(told))]  # where all begin: the lowest
            try:
                self._give(source, max(told) == 0)
            except dist.DistBackendError:
                continue  # the source was lost meanwhile: another one
            if self._known is None:
                self._known = now
        if now != self._known:
            self.changes += 1
        self._known = self.members = now

    def _give(self, source: int, all_begin: bool) -> None:
        if self._replay:
            return self._replay.give(source)
        if all_begin and self.rank == source and self.checkpoint and os.path.exists(self.checkpoint):
            self.load(self.checkpoint)
        box: list[t.Any] = [self.state_dict() if self.rank == source else None]
        dist.broadcast_object_list(box, group_src=source, group=self._group)
        if self.rank != source:
            self.load_state_dict(box[0])

    def _give_back_lost(self, took_part: list[int]) -> None:
        if self.sampler is not None:
            for rank in self.members:
                if rank not in took_part:
                    self.sampler.give_back(rank)
