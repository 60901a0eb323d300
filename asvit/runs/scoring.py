"""Scores: measures of single architectures, without a run folder."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, overload

from asvit.core.console import quantity
from asvit.core.display import in_notebook, progress_display
from asvit.core.programs import file_command
from asvit.core.progress import Progress, Tell, image_progress
from asvit.core.shared_settings import MeasuringSettings, proxy_names
from asvit.core.signatures import CallOptions, with_options
from asvit.data.sources import channel_count
from asvit.runs.measurement_pool import EvalContext
from asvit.runs.timing import latency
from asvit.spaces import build, cost
from asvit.spaces.architectures import each_of, parse
from proxies import Score, measure
from proxies.registry import get_proxy, standard_measures

if TYPE_CHECKING:
    from pandas import DataFrame

    from asvit.spaces.base import Architecture

LATENCY = "latency"  # the measure


@dataclass(frozen=True)
class ScoreRow:
    """The measures of one architecture."""

    architecture: str  #: its canonical text
    scores: Mapping[str, Score]  #: measure to score

    @property
    def values(self) -> dict[str, float]:
        """Measure to mean value; NaN where it failed."""
        return {name: float(score.value) for name, score in self.scores.items()}

    @property
    def reason(self) -> str:
        """Why measures failed, in a line; empty where none did."""
        failed = ((name, score) for name, score in self.scores.items() if not score.valid)
        return "; ".join(f"{name}: {score.reason or score.value}" for name, score in failed)


class Scores(Sequence[ScoreRow]):
    """The measures of several architectures, a row each, in the order in which they were given."""

    def __init__(self, rows: Sequence[ScoreRow], measures: Sequence[str]) -> None:
        self._rows, self._measures = tuple(rows), tuple(measures)

    @overload
    def __getitem__(self, place: int) -> ScoreRow: ...
    @overload
    def __getitem__(self, place: slice) -> Scores: ...
    def __getitem__(self, place: int | slice) -> ScoreRow | Scores:
        rows = self._rows[place]
        return rows if isinstance(rows, ScoreRow) else Scores(rows, self._measures)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"Scores({quantity(len(self), 'architecture')}; {', '.join(self._measures)})"

    def to_dataframe(self) -> DataFrame:
        """A pandas data frame: ``architecture``, a column for each measure, and ``reason``."""
        import pandas as pd

        rows = [{"architecture": r.architecture, **r.values, "reason": r.reason} for r in self]
        columns = ["architecture", *self._measures, "reason"]
        return pd.DataFrame(rows, columns=columns)


@with_options(MeasuringSettings, CallOptions)
def score(
    architectures: str | Architecture | Iterable[str | Architecture],
    proxies: str | Sequence[str] | None = None,
    *,
    latency_command: str | None = None,
    progress: Tell | None = None,
    **given: Any,
) -> Scores:
    """Measure architectures, as ``asvit score`` does.

    Args:
        architectures: Texts, ``"timm:NAME"`` or parsed architectures, or one of them; each is
            measured once.
        proxies: Measures; by default all registered ones but ``"latency"``.
        latency_command: Takes the measure ``"latency"`` on another device, as
            :func:`asvit.latency` does; by default, it is one of the measures then.
        progress: Called with a :class:`asvit.core.progress.Progress` as it goes on; unless it is
            given, a notebook shows a bar.

    Returns:
        A :class:`Scores`: a sequence of :class:`ScoreRow`, with ``to_dataframe()``.

    Raises:
        ValueError: If an architecture, a measure or the value of a setting is not known or does
            not suit.
        TypeError: If there is no such setting.
        OSError: If images cannot be found, or the command fails.

    Example:
        >>> scores = asvit.score("timm:resnet10t", proxies="naswot", image_size=32, repeats=1)
        >>> scores.to_dataframe().columns[0]
        'architecture'
    """
    settings = MeasuringSettings.make(**given)
    timed = (LATENCY,) if latency_command is not None else ()
    names = proxy_names((*standard_measures(), *timed) if proxies is None else proxies)
    for name in names:
        get_proxy(name)
    if latency_command is not None:
        file_command(latency_command)
        if LATENCY not in names:
            raise ValueError("latency_command is for the measure latency; name it, too")
    here = [name for name in names if latency_command is None or name != LATENCY]
    texts = list(dict.fromkeys(str(parse(each)) for each in each_of(architectures)))
    quiet = progress is not None or not in_notebook()
    title = f"measuring {quantity(len(texts), 'architecture')}"
    with progress_display(title, quiet=quiet) as display:
        tell = progress or display
        in_chans = channel_count(settings.data)
        for text in texts:  # refuses what does not suit before images are made
            cost(text, settings.image_size, in_chans=in_chans)
        context = EvalContext(settings, progress=image_progress(tell))
        rows: list[ScoreRow] = []
        started, side = time.monotonic(), settings.image_size
        tell(Progress("architecture", 0, len(texts), state=next(iter(texts), "")))
        for text in texts:
            network = partial(build, text, side, in_chans=context.channels)
            scores = dict(measure(network, here, key=text, **context.arguments)) if here else {}
            if latency_command is not None:
                taken = latency(text, side, in_chans=context.channels, command=latency_command)
                milliseconds = taken.milliseconds
                scores[LATENCY] = Score(milliseconds, 0.0, (milliseconds,), "lower")
            rows.append(ScoreRow(text, {name: scores[name] for name in names}))
            seconds = time.monotonic() - started
            tell(Progress("architecture", len(rows), len(texts), seconds=seconds, state=text))
    return Scores(rows, names)
