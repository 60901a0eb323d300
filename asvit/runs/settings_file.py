"""``settings.toml``: the command of a run as a file, which ``--config`` takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tomli_w

from asvit.core.files import write_bytes
from asvit.core.run_files import COMMAND, SETTINGS
from asvit.core.settings import Option
from asvit.runs.command_line import typed_settings, values_to_type

if TYPE_CHECKING:
    from asvit.runs.run import Run

REST = "# The other settings, which follow from these and from the defaults:"


def write_settings(run: Run[Any, Any, Any]) -> None:
    """Write the file into the run folder, as a whole or not at all."""
    # TOML has no half characters, which a path may be made of.
    write_bytes(run.folder / SETTINGS, settings_text(run).encode(errors="replace"))


def settings_text(run: Run[Any, Any, Any]) -> str:
    """The file of a run: the command, its options, and the other settings as comments."""
    typed: dict[str, Any] = {COMMAND: run.command}
    rest: dict[str, Any] = {}
    for owner in run.option_owners():
        names = typed_settings(run) if owner is run.settings else None
        for name, option, value, is_typed in values_to_type(owner, names, run.typed_values):
            if is_typed or owner is run.settings:
                (typed if is_typed else rest)[option.name or name] = _plain(option, value)
    beside = " --latency-command COMMAND" * ("latency_command" in typed)  # which no file starts
    first = f"# asvit {run.command} --config {SETTINGS}{beside} gives the same run.\n"
    text = first + tomli_w.dumps(typed)
    return text + (f"\n{REST}\n{_commented(rest)}" if rest else "")


def _plain(option: Option, value: Any) -> Any:
    """A value in the types of TOML, as it could be typed."""
    several = value if isinstance(value, tuple) else (value,)
    if option.parse is not None:  # from one text
        return ",".join(map(option.spell, several))
    if isinstance(value, tuple):
        return [str(one) for one in value]
    return value if isinstance(value, bool | int | float) else str(value)


def _commented(values: Mapping[str, Any]) -> str:
    return "".join(f"# {line}\n" for line in tomli_w.dumps(values).splitlines())
