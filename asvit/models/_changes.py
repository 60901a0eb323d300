"""Attributes of modules that are changed for a while and put back."""

from typing import Any

from torch import nn

# In the module itself, so that a deep copy of a changed network can be put back too.
_BEFORE = "_before_changes"


def change(module: nn.Module, **values: Any) -> None:
    """Set attributes of a module, its ``__class__`` among them, until :func:`put_back`."""
    before = vars(module).setdefault(_BEFORE, {})
    for name, value in values.items():
        before.setdefault(name, getattr(module, name))
        setattr(module, name, value)


def put_back(model: nn.Module) -> None:
    """Undo every :func:`change` in a network."""
    for module in model.modules():
        for name, value in vars(module).pop(_BEFORE, {}).items():
            setattr(module, name, value)


def unchanged(module: nn.Module, name: str) -> Any:
    """The value of an attribute before any :func:`change`."""
    before = vars(module).get(_BEFORE, {})
    return before[name] if name in before else getattr(module, name)
