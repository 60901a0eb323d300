"""Contexts that intercept or replace torch operations."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from torch.overrides import TorchFunctionMode

Operation = Callable[..., Any]


class InterceptOperations(TorchFunctionMode):
    """Inside, every torch operation is a call of :meth:`intercept`."""

    def __torch_function__(
        self,
        func: Operation,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return self.intercept(func, args, kwargs or {})

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Result of a call to ``func``; operations called in here are not intercepted."""
        return func(*args, **kwargs)


class ReplaceOperations(InterceptOperations):
    """Inside, some operations are replaced by others that take the same arguments.

    Attributes:
        replacements: What is called instead of an operation.
    """

    replacements: ClassVar[Mapping[Operation, Operation]]

    def intercept(self, func: Operation, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call the replacement of ``func``, or ``func`` itself if it has none."""
        return self.replacements.get(func, func)(*args, **kwargs)
