"""Architectures by what a command takes for one: a text, or the folder of an earlier run."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asvit.architectures.genotype import EXAMPLE
from asvit.core.codec import MALFORMED
from asvit.core.files import expanded
from asvit.core.results import RUNS, stored_content
from asvit.core.run_files import RESULT
from asvit.spaces.architectures import canonical, parse
from proxies.messages import first_line
from proxies.text import one_line, shown


@dataclass(frozen=True)
class FoundArchitecture:
    """An architecture, and the run that found it."""

    text: str  # its text in canonical form
    # Kind, folder and measures of the run that found it; None for a text.
    by: Mapping[str, Any] | None = None
    # Image size in pixels, classes and channels of that run's network; None where it has none.
    sizes: tuple[int, int, int] | None = None
    # Of converted networks: the parts that the text does not have, such as ffn=compact.
    parts: Sequence[str] = ()

    @property
    def warning(self) -> str:
        """That the text lacks parts of the run's network, in a line; empty where it does not."""
        if not self.parts or self.by is None:
            return ""
        return f"the network in {self.by['run']} has {', '.join(self.parts)}; here it is without"


def text_of(architecture: Any) -> str:
    """The text of what a function takes for an architecture: a text, a path, or an architecture.

    Raises:
        ValueError: If it is something else; of a result the message says what to take of it.
    """
    return str(architecture if isinstance(architecture, str | Path) else parse(architecture))


def run_folder(text: str) -> Path | None:
    """The folder that a text names, itself or by a result.json in it; None for other texts."""
    if not text.strip():
        return None  # not the current folder
    path = expanded(text)
    with suppress(OSError, ValueError):  # no path at all
        if path.name == RESULT and path.is_file():
            return path.parent
        return path if path.is_dir() else None
    return None


def find_architecture(text: str) -> FoundArchitecture:
    """The architecture of a text, or the one that a run ended in, by its folder or result.json.

    Raises:
        ValueError: If it is no architecture, or the run ended in none that is known here.
        FileNotFoundError: If there is no such run, or it has not finished.
    """
    folder = run_folder(text)
    if folder is None:
        return FoundArchitecture(_canonical(text))
    path = folder / RESULT
    if not path.exists():
        raise FileNotFoundError(
            f"{folder} has no {RESULT}: it is no finished run; name an architecture"
        )
    try:
        content = stored_content(path)
    except MALFORMED as error:
        raise ValueError(f"{path} is damaged: {first_line(error)}") from error
    kind = str(content.get("kind"))
    ends = {run.files.kind: run.ends_in for run in RUNS.values() if run.ends_in}
    if kind not in ends:
        raise ValueError(
            f"{folder} holds a run of kind {shown(kind)}, which ends in no architecture; "
            f"use a {', '.join(ends)} or an architecture"
        )
    try:
        measures = content["steps"][-1] if kind == "scale" else content
        names = ("length_distortion", "ntk_condition_number")
        measured = {name: measures[name] for name in names if name in measures}
        network = content.get("network") or {}
        parts = [f"{name}={network[name]}" for name in ("attention", "ffn") if network.get(name)]
        return FoundArchitecture(
            text=canonical(content[ends[kind]]),
            by={"kind": kind, "run": str(folder), **measured},
            sizes=_sizes(content),
            parts=list(map(one_line, parts)),
        )
    except MALFORMED as error:
        raise ValueError(
            f"{folder} ends in no architecture that is known here: {first_line(error)}"
        ) from error


def _canonical(text: str) -> str:
    """The canonical text of an architecture; of what can only be a path, an error that says so."""
    try:
        return canonical(text)
    except ValueError as error:
        of_network = text.endswith((".safetensors", ".pth", ".onnx", ".pt2"))
        if not of_network and (os.sep not in text or not set(text).isdisjoint("|:")):
            raise
        raise FileNotFoundError(
            f"no run folder {shown(text)}; name one that is there, or an architecture such as "
            f"'{EXAMPLE}'"
        ) from error


def _sizes(content: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Image size, classes and channels of a trained network, or what a scaling counted with."""
    if "network" in content:
        network = content["network"]
        return network["image_size"], network["num_classes"], network["in_chans"]
    if {"image_size", "classes"} <= content.keys():
        return content["image_size"], len(content["classes"]), content.get("channels", 3)
    if content["kind"] == "scale":
        return content["settings"]["count_size"], content["settings"]["classes"], 3
    return None
