"""Settings of how the time of a forward pass is taken."""

from collections.abc import Mapping
from typing import Any, Final

from asvit.core.programs import FILE, file_command
from asvit.core.settings import setting

#: What may run a network on this machine.
RUNTIME_NAMES: Final = ("eager", "onnx")

#: How the latency is taken that is limited.
OF_LATENCY: Final = ("latency_batch", "latency_runtime", "latency_command")


def runtime_setting(**options: Any) -> Any:
    """The setting of what runs a pass."""
    help = "What runs that pass: eager (PyTorch) or onnx (ONNX Runtime)."
    return setting("eager", help, choices=RUNTIME_NAMES, **options)


def command_setting(**options: Any) -> Any:
    """The setting of a command that times networks on another device."""
    return setting(
        None,
        "Time passes on another device: a program that prints milliseconds for an ONNX file, "
        f"such as 'ssh pi ./bench {FILE}'.",
        metavar="COMMAND",
        convert=file_command,
        **options,
    )


def latency_values(settings: Any) -> Mapping[str, Any]:
    """How the latency is taken: names of settings to values."""
    return {name: getattr(settings, name) for name in OF_LATENCY}


def latency_choices(settings: Any) -> Mapping[str, Any]:
    """How the latency is taken, where that is not the default: names of settings to values."""
    values = latency_values(settings).items()
    return {name: value for name, value in values if value != getattr(type(settings), name)}


def pass_options(settings: Any) -> Mapping[str, Any]:
    """How a run has :func:`asvit.runs.timing.latency` time a pass."""
    return {
        "batch": settings.latency_batch,
        "device": settings.device,
        "runtime": settings.latency_runtime,
        "command": settings.latency_command,
    }


def check_command(command: str | None, runtime: str) -> None:
    """Check that a command is not to use a runtime of this machine."""
    if command is not None and runtime != "eager":
        raise ValueError(
            f"latency_runtime={runtime} is for this machine, latency_command for another one; "
            "leave one of them out"
        )
