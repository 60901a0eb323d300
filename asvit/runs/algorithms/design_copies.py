"""The copies of a design's network in other formats, and what their cards say of the design."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from asvit.core.run_files import GRAPH, MODEL, SMALL_GRAPH
from asvit.designs.hours import AFTERWARDS
from asvit.designs.last_round import LastRound
from asvit.designs.sizes import limits_of
from asvit.designs.stages import Exports
from asvit.export.exporting import export_network
from asvit.export.formats import FORMATS
from asvit.measuring.latency import COMMAND, time_in_words
from proxies.messages import first_line

logger = logging.getLogger(__name__)

_COPIES: Sequence[tuple[str, str, Mapping[str, Any]]] = (  # format, name, and how
    ("safetensors", MODEL, {}),  # first: other commands take the folder by it
    ("onnx", GRAPH, {"with_preprocessing": True}),
    ("timm", "timm", {}),
    ("onnx", SMALL_GRAPH, {"with_preprocessing": True, "int8": True}),
)


def export_copies(folder: Path, last_round: LastRound, remaining: Callable[[], float]) -> Exports:
    """Copy the network; a copy that cannot be written or loaded, or differs, is left out.

    So are those that would end, by the time of the ones before, half a minute after the
    ``remaining`` seconds.
    """
    copies, commands, int8, longest = list[str](), list[str](), "", 0.0
    facts = {"designed": _card_facts(last_round)}
    for form, name, how in _COPIES:
        if name == SMALL_GRAPH and not last_round.settings.int8:
            continue
        FORMATS[form].check_out(folder / name, card=True, force=True)  # can be mended
        began = time.monotonic()
        try:
            if copies and remaining() + AFTERWARDS < longest:
                raise ValueError("the hours are over; asvit export writes it")
            exported = export_network(
                weights=str(folder / "training"),
                to=form,
                out=str(folder / name),
                force=True,
                facts=facts,
                **how,
            )
        except (ImportError, ValueError, ChildProcessError) as error:  # the last: does not load
            if name == SMALL_GRAPH:  # which the result tells of
                int8 = f"left out: {first_line(error)}"
            else:
                logger.warning("there is no %s: %s", name, first_line(error))
            continue
        if name == SMALL_GRAPH and exported.quantisation is not None:
            int8 = exported.quantisation.in_words
        longest = max(longest, time.monotonic() - began)
        copies.append(name)
        commands.append(exported.command)
    return Exports(copies=copies, commands=commands, int8=int8)


def _card_facts(last_round: LastRound) -> Mapping[str, str]:
    """What the card of a copy says of the design; not the command that times networks.

    That may name a machine.
    """
    settings = replace(last_round.settings, latency_command=None)
    tested, choice = last_round.results.test, last_round.results.choice
    timed = last_round.results.latency[choice.winner]

    def share(name: str) -> str:
        found = tested.accuracies[name]
        return f"{found.value:.1f} % [{found.low:.1f}, {found.high:.1f}]"

    by_hand = "none was in the last round"
    if choice.by_hand == choice.winner:
        by_hand = "it is of a published shape, as wide as the limits and the time allow"
    elif choice.by_hand is not None:
        by_hand = (
            f"{share(choice.by_hand)}: the best network made by hand in the last round, "
            f"where this one reached {share(choice.winner)}"
        )
    where = f"by {timed.where}" if timed.runtime != COMMAND else "on a device of the user's"
    network = last_round.network(choice.winner)
    tuned = f"fine-tuned from {Path(network.pretrained).name}{network.remark}"
    return {
        "limits": limits_of(settings).limits_in_words,
        **({"pretrained": tuned} if network.pretrained else {}),
        "accuracy": f"{share('training')} of {tested.pictures} pictures that were kept aside",
        "by_hand": by_hand,
        "latency": f"{time_in_words(timed.milliseconds)} for {timed.batch} image(s) {where}",
    }
