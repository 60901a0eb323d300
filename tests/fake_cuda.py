"""A stand-in for torch.cuda, whose graphs record the operations on tensors of the CPU."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_aten: Any = torch.ops.aten


class FakeCuda:
    """torch.cuda as far as a graph needs it; notes what is called in which stream or capture."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.inside = ["usual"]
        self.sync_debug_mode: Any = 0
        self.default_generators = [FakeGenerator(self)]
        self.graphs: list[FakeGraph] = []
        self.free, self.taken = 4, 1  # bytes
        self.streams = 0  # beside the usual one

    def _within(self, name: str) -> AbstractContextManager[None]:
        @contextmanager
        def within() -> Iterator[None]:
            self.inside.append(name)
            try:
                yield
            finally:
                self.inside.pop()

        return within()

    def note(self, what: str) -> None:
        self.notes.append(f"{what} in {self.inside[-1]}")

    def device(self, device: torch.device) -> AbstractContextManager[None]:
        return self._within(str(device))

    def current_device(self) -> int:
        return 0

    def stream(self, stream: "FakeStream") -> AbstractContextManager[None]:
        return self._within(stream.name)

    @contextmanager
    def graph(
        self, graph: "FakeGraph", *, stream: "FakeStream", capture_error_mode: str
    ) -> Iterator[None]:
        assert stream.name == self.inside[-1] != "usual"
        with self._within("capture"), graph.recording():
            yield

    def Stream(self, device: int) -> "FakeStream":
        self.streams += 1
        return FakeStream(self, "another stream")

    def current_stream(self) -> "FakeStream":
        streams = [name for name in self.inside if name in {"usual", "another stream"}]
        return FakeStream(self, streams[-1])

    def CUDAGraph(self) -> "FakeGraph":
        self.graphs.append(FakeGraph(self))
        return self.graphs[-1]

    def get_sync_debug_mode(self) -> Any:
        return self.sync_debug_mode

    def set_sync_debug_mode(self, mode: Any) -> None:
        self.sync_debug_mode = mode

    def mem_get_info(self) -> tuple[int, int]:
        return self.free, self.free + self.taken

    def memory_reserved(self) -> int:
        return self.taken

    def empty_cache(self) -> None:
        self.note("empty cache")


class FakeStream:
    def __init__(self, cuda: FakeCuda, name: str) -> None:
        self.cuda, self.name = cuda, name

    def wait_stream(self, other: "FakeStream") -> None:
        self.cuda.notes.append(f"{self.name} waits for {other.name}")


class FakeGenerator:
    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda

    def clone_state(self) -> str:
        return "state before the capture"

    def graphsafe_set_state(self, state: str) -> None:
        self.cuda.note(f"set {state}")


class FakeGraph:
    """Records operations, without their effect, and repeats them on the same tensors."""

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.replays = 0
        self._recorder = _Recorder()

    @contextmanager
    def recording(self) -> Iterator[None]:
        before = torch.get_rng_state()
        try:
            with self._recorder:
                yield
        finally:
            self._recorder.undo()
            torch.set_rng_state(before)

    def replay(self) -> None:
        self.cuda.note("replay")
        self.replays += 1
        self._recorder.repeat()


class _Recorder(TorchDispatchMode):
    """Operations on tensors: what they are of, and what they come to."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, Any, Any, Any]] = []
        self._before: dict[int, tuple[Tensor, torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is _aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        if func.namespace != "aten":  # of the profiler
            return func(*args, **kwargs)
        for tensor in _tensors((args, kwargs)):  # signatures do not tell all that is written
            self._keep(tensor)
        result = func(*args, **kwargs)
        self._calls.append((func, args, kwargs, result))
        return result

    def _keep(self, tensor: Tensor) -> None:
        place = _place(tensor)
        if place not in self._before:
            self._before[place] = tensor, tensor.untyped_storage().clone()

    def undo(self) -> None:
        """Restore what was written; what was made in the capture has no values yet."""
        given: set[int] = set()
        made: dict[int, Tensor] = {}
        for _, args, kwargs, result in self._calls:
            given |= {_place(one) for one in _tensors((args, kwargs))} - made.keys()
            made |= {_place(one): one for one in _tensors(result) if _place(one) not in given}
        with torch.no_grad():
            for one in made.values():
                one.fill_(torch.nan if one.is_floating_point() else 0)
            for place in given & self._before.keys():
                tensor, storage = self._before[place]
                tensor.untyped_storage().copy_(storage)

    def repeat(self) -> None:
        with torch._C._AutoDispatchBelowAutograd():
            for func, args, kwargs, result in self._calls:
                again = func(*args, **kwargs)
                for one, new in zip(_tensors(result), _tensors(again), strict=True):
                    if _place(one) != _place(new):
                        one.copy_(new)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
