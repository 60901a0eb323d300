"""Calls of models and of torch operations: with other tensors, checked, intercepted, replaced."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from proxies.messages import first_line


def named_slots(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every slot that holds a parameter or a buffer, by one name, with its tensor.

    A module with two parents is listed under one name only; a weight tied between two modules is
    listed for both.
    """
    own: dict[str, Any] = {"recurse": False, "remove_duplicate": False}
    for path, module in model.named_modules():
        yield from module.named_parameters(path, **own)
        yield from module.named_buffers(path, **own)


def substitutes(
    model: nn.Module, substitute: Callable[[Tensor], Tensor | None]
) -> Mapping[str, Tensor]:
    """Map slots to what ``substitute`` returns for their tensors, without those that are None."""
    pairs = ((name, substitute(tensor)) for name, tensor in named_slots(model))
    return {name: tensor for name, tensor in pairs if tensor is not None}


def call_with_tensors(model: nn.Module, tensors: Mapping[str, Tensor], *inputs: Tensor) -> object:
    """Call a model with ``tensors``, from :func:`substitutes`, in its slots; then restore it.

    torch's own handling of tied weights is off: it would fill a slot with two names twice, and
    not restore it.
    """
    out: object = functional_call(model, dict(tensors), inputs, tie_weights=False)
    return out


def network_output(model: nn.Module, images: Tensor) -> Tensor:
    """Output ``[n, ...]`` of a network with its parameters detached.

    Raises:
        ValueError: If the model cannot take the images, or does not return one tensor with a row
            for each image.
    """
    with model_errors(model):
        out = call_with_tensors(model, substitutes(model, Tensor.detach), images)
    return checked_rows(model, out, images)


@contextmanager
def model_errors(model: nn.Module) -> Iterator[None]:
    """Turn errors of the model's own code into a ValueError that names its class."""
    try:
        yield
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"{type(model).__name__}: {first_line(error)}") from error


def checked_rows(model: nn.Module, out: object, images: Tensor) -> Tensor:
    """``out``, which must be a tensor with a row for each image.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(out, Tensor) or out.shape[:1] != images.shape[:1]:
        raise ValueError(
            f"{type(model).__name__} gives {shape_or_type(out)} for {len(images)} images; "
            "a measure needs one tensor with a row for each image"
        )
    return out


def shape_or_type(out: object) -> str:
    """The shape of a tensor, or the type of anything else, for a message."""
    return str(tuple(out.shape)) if isinstance(out, Tensor) else type(out).__name__


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
