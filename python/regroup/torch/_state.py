"""What Elastic registers with the core: the tensors of modules and optimizers, at addresses that stay. The rest (settings of
optimizers, schedulers, anything else with a state_dict) is small and travels as bytes."""
import itertools
import typing as t

import torch

# Their update is a function of parameters, gradients and tensors that begin as zeros.
REPLAYED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad)


class State:
    def __init__(self, parts: dict[str, t.Any]) -> None:
        self._modules = {n: p for n, p in parts.items() if isinstance(p, torch.nn.Module)}
        self._optimizers = {n: p for n, p in parts.items() if isinstance(p, torch.optim.Optimizer)}
        self._others = {n: p for n, p in parts.items() if n not in self._modules and n not in self._optimizers}
        self.parameters = list(dict.fromkeys(p for m in self._modules.values() for p in m.parameters()))
        self.index = {id(p): i for i, p in enumerate(self.parameters)}
        self.tensors: list[tuple[str, torch.Tensor]] = []
        for name, module in self._modules.items():
            if any(isinstance(m, torch.nn.modules.batchnorm._NormBase) and m.track_running_stats for m in module.modules()):
                raise TypeError(f"Elastic: {name} has running statistics, which are each rank's own and cannot be replayed: leave "
                                "update= out")
        for name, optimizer in self._optimizers.items():
            if type(optimizer) not in REPLAYED:
                raise TypeError(f"Elastic: {name} is a {type(optimizer).__name__}; with update= it must be one of "
                                f"{', '.join(o.__name__ for o in REPLAYED)}. Leave update= out")
            if any(g.get("dampening") for g in optimizer.param_groups):
                raise TypeError(f"Elastic: {name} has dampening, whose first step cannot be replayed: leave update= out")

    def register(self) -> None:
        """All tensors there are, and those that an optimizer would make in its first step."""
        for optimizer in self._optimizers.values():
            _make_state(optimizer)
        seen: set[int] = set()
        for name, tensor in itertools.chain(self._of_modules(), self._of_optimizers()):
            if tensor.device.type != "cpu" or tensor.layout != torch.strided:
                raise TypeError(f"Elastic: {name} is not a dense tensor in host memory")
            if not (tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last)):
                raise TypeError(f"Elastic: {name} is not contiguous")
            if tensor.numel() and tensor.data_ptr() not in seen:
                seen.add(tensor.data_ptr())
                self.tensors.append((name, tensor))

    def _of_modules(self) -> t.Iterator[tuple[str, torch.Tensor]]:
        for name, module in self._modules.items():
            for key, tensor in itertools.chain(module.named_parameters(), module.named_buffers()):
                yield f"{name}.{key}", tensor.detach()

    def _of_optimizers(self) -> t.Iterator[tuple[str, torch.Tensor]]:
        for name, optimizer in self._optimizers.items():
            for i, p in enumerate(p for g in optimizer.param_groups for p in g["params"]):
                for key, value in optimizer.state.get(p, {}).items():
                    if isinstance(value, torch.Tensor):
                        yield f"{name}.{i}.{key}", value.detach()

    def buffers(self) -> list[tuple[str, int, int]]:
        return [(name, tensor.data_ptr(), tensor.numel() * tensor.element_size()) for name, tensor in self.tensors]

    def set_gradients(self, memory: t.Any, indices: t.Sequence[int]) -> None:
        """As DDP leaves them: the parameters' gradients one after the other, each in its parameter's order of memory."""
        parameters = [self.parameters[i] for i in indices]
        flat = torch.frombuffer(memory, dtype=parameters[0].dtype)
        at = 0
        for p in parameters:
            part = flat[at:at + p.numel()]
            p.grad = (part.as_strided(p.size(), p.stride())).clone()
            at += p.numel()
        if at != flat.numel():
            raise ValueError("an average of gradients is not as large as its parameters")

    def rest(self) -> dict[str, t.Any]:
        settings = {name: [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
                    for name, optimizer in self._optimizers.items()}
        return {"optimizers": settings, "others": {name: other.state_dict() for name, other in self._others.items()}}

    def load_rest(self, rest: dict[str, t.Any]) -> None:
        for name, groups in rest["optimizers"].items():
            for group, settings in zip(self._optimizers[name].param_groups, groups, strict=True):
                group.update(settings)
        for name, state in rest["others"].items():
            self._others[name].load_state_dict(state)


def _make_state(optimizer: torch.optim.Optimizer) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    new = [p for p in parameters if not optimizer.state.get(p)]
    if not new:
        return
    with torch.no_grad():
        kept = [(p.detach().clone(), p.grad) for p in parameters]
        old = [(v, v.clone()) for p in parameters for v in optimizer.state.get(p, {}).values() if isinstance(v, torch.Tensor)]
        for p in parameters:
            p.grad = torch.zeros_like(p)
        optimizer.step()
        for p, (value, grad) in zip(parameters, kept):
            p.copy_(value)
            p.grad = grad
        for tensor, value in old:
            tensor.copy_(value)
        for p in new:
            for value in optimizer.state[p].values():
                if isinstance(value, torch.Tensor):
                    value.zero_()
