"""Catch-up of Elastic: a rank that comes back fetches the registered tensors from all members at once, is fed the results of
their steps meanwhile, replays these through `update`, and enters where it is level. The members wait for nobody.

A step ends with one small op (Elastic.update): everybody's account of the step, the same bytes at all. It says what a replay
needs: numbers of the ops that averaged gradients, which parameters were in them, samples drawn, members.
"""
import io
import json
import os
import typing as t

import torch
import torch.distributed as dist

from . import _state
from ._run import Run


class Replay:
    def __init__(self, run: Run, update: t.Callable[[], t.Any]) -> None:
        self._run, self._update = run, update
        self.drawn: list[int] = []  # samples a member in this step, by call
        self._buckets: list[list[int]] = []  # parameters in the averages of this step
        self._layout: t.Any = None  # as last told: the parameters in each average, and those without a gradient
        self._ended = -1  # sequence number of the process group when update() was over
        self._state = _state.State(run._parts)
        self.given = False  # by other members, when this one joined

    # What the training loop calls.

    def hook(self, _: t.Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        return self.average(bucket.buffer(), bucket.parameters()).get_future().then(lambda done: done.value()[0])

    def average(self, flat: torch.Tensor, parameters: t.Sequence[torch.Tensor]) -> t.Any:
        self._buckets.append([self._state.index[id(p)] for p in parameters])
        return self._run._backend.average(flat)

    def update(self) -> None:
        run = self._run
        if run._known is None:
            raise RuntimeError("Elastic: update() outside a step")
        without = [i for i, p in enumerate(self._state.parameters) if p.grad is None]
        left_out = set(range(len(self._state.parameters))) - {i for b in self._buckets for i in b} - set(without)
        if left_out:
            raise RuntimeError(f"Elastic: gradients that no rank has averaged, of parameters {sorted(left_out)[:5]}: use "
                               "elastic.ddp() or elastic.average()")
        layout = [self._buckets, without]
        self._buckets = []
        account = {"kind": "step", "step": run.step + 1, "ops": run._backend.averaged(), "drawn": self.drawn, "members": run.members,
                   "took": run._backend.contributors(), "layout": layout if layout != self._layout else None}
        self.drawn = []
        self._layout = layout
        self._end_step(account, self._update)

    def check_over(self, before: int) -> None:
        if self._run.step != before + 1:
            raise RuntimeError("Elastic: the step ended without elastic.update()")
        if self._run._backend._get_sequence_number_for_group() != self._ended:
            raise RuntimeError("Elastic: something was sent behind elastic.update(); it belongs before it, into the step")

    # Joining, and what everybody begins with.

    def join(self) -> None:
        run = self._run
        if run.checkpoint and os.path.exists(run.checkpoint):
            run.load(run.checkpoint)
        self._state.register()
        run._backend.join_with(self._state.buffers(), self._save, self._load, self._apply)
        if self.given:
            run._known = []

    def give(self, source: int) -> None:
        """All begin: the state of `source`. A step of its own, which can be replayed too."""
        run = self._run
        mine = self._everything() if run.rank == source else b""
        size = torch.tensor([len(mine)])
        dist.all_reduce(size, op=dist.ReduceOp.MAX, group=run._group)
        data = torch.frombuffer(bytearray(mine), dtype=torch.uint8) if mine else torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(data, group_src=source, group=run._group)
        account = {"kind": "given", "step": run.step, "op": run._backend.last_op}
        if run.rank != source:
            account["step"] = 0
        told = torch.tensor([account["step"]])
        dist.all_reduce(told, op=dist.ReduceOp.MAX, group=run._group)
        account["step"] = int(told)
        self._end_step(account, lambda: self._take(data.numpy().tobytes()) if run.rank != source else None)

    def _end_step(self, account: dict[str, t.Any], change: t.Callable[[], t.Any]) -> None:
        backend = self._run._backend
        text = json.dumps(account).encode()
        told = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        backend.end_step(told)
        if told.numpy().tobytes() != text:
            raise RuntimeError("Elastic: the members are out of step: their accounts of the last one differ")
        backend.begin_update()
        try:
            change()
            self._after(account)
        finally:
            backend.end_update()
        self._ended = backend._get_sequence_number_for_group()

    def _after(self, account: dict[str, t.Any]) -> None:
        run = self._run
        self.given = True
        run.step = account["step"]
        if account["kind"] == "step" and run.sampler is not None:
            for rank in account["members"]:
                if rank not in account["took"]:
                    run.sampler.give_back(rank)

    # What the core calls, on a thread of its own: a member saves for who catches up, and that one loads and applies.

    def _save(self) -> bytes:
        run, file = self._run, io.BytesIO()
        torch.save({"step": run.step, "begun": self.given, "layout": self._layout, "rest": self._state.rest(),
                    "sampler": run.sampler.state_dict() if run.sampler else None, "rng": torch.get_rng_state() if run.rng else None}, file)
        return file.getvalue()

    def _load(self, data: bytes) -> None:
        run, state = self._run, torch.load(io.BytesIO(data), weights_only=True)
        run.step, self._layout, self.given = state["step"], state["layout"], state["begun"]
        self._state.load_rest(state["rest"])
        if run.sampler is not None:
            run.sampler.load_state_dict(state["sampler"])
        if state["rng"] is not None:
            torch.set_rng_state(state["rng"])

    def _apply(self, _: int, results: list[tuple[int, bool, t.Any, int]]) -> None:
        account = json.loads(bytes(results[-1][2]))
        by_op = {op: memory for op, ok, memory, contributors in results if ok}
        if account["kind"] == "given":
            self._take(bytes(by_op[account["op"]]))
        else:
            run = self._run
            self._layout = account["layout"] or self._layout
            buckets, without = self._layout
            for op, indices in zip(account["ops"], buckets, strict=True):
                self._state.set_gradients(by_op[op], indices)
            for i in without:
                self._state.parameters[i].grad = None
            if run.sampler is not None:
                for count in account["drawn"]:
                    run.sampler.draw(count, account["members"], account["members"][0])
            self._update()
        self._after(account)

    def _everything(self) -> bytes:
        file = io.BytesIO()
        torch.save({"tensors": [tensor for _, tensor in self._state.tensors], "rest": self._save()}, file)
        return file.getvalue()

    def _take(self, data: bytes) -> None:
        state = torch.load(io.BytesIO(data), weights_only=True)
        with torch.no_grad():
            for (_, mine), theirs in zip(self._state.tensors, state["tensors"], strict=True):
                mine.copy_(theirs)
        self._load(state["rest"])
