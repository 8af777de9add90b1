# What python/regroup/__init__.py adds to Group, for the stub.
_core\.Group\.__suffix__:
    \from typing import Any
    \from contextlib import AbstractContextManager
    def empty(self, shape: int | tuple[int, ...], dtype: numpy.typing.DTypeLike = "float32") -> numpy.typing.NDArray[Any]:
        """Zeroed array on registered shared memory; torch.from_numpy() makes a tensor of it."""

    def grouped(self) -> AbstractContextManager[None]:
        """Asynchronous collectives inside are launched together at the end of the block."""

    def __enter__(self) -> Group: ...

    def __exit__(self, kind: object, value: object, trace: object) -> None: ...

