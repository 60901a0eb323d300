"""The report of a design: the network, its accuracy, speed and size."""

from collections.abc import Iterator, Mapping

from asvit.core.console import number
from asvit.core.summary import Section, Summary
from asvit.designs.result import DesignResult
from asvit.report import html


def summary(result: DesignResult) -> Summary:
    """The network beside a hand-made baseline, and the pictures left out."""
    low, high = result.accuracy_interval
    facts = {
        "accuracy": f"{result.accuracy:.1f} % ({low:.1f} to {high:.1f})",
        "time of a forward pass": f"{number(result.latency_ms)} ms",
        "parameters": number(result.params),
        "multiply-adds": number(result.macs),
        "image size": f"{result.image_size} px",
        "classes": str(len(result.classes)),
        "pictures to train on": number(result.train_pictures),
        "pictures to test on": number(result.test_pictures),
    }
    both = result.hand_made is not None
    unseen, trained = ("neither had", "Both were") if both else ("it had not", "It was")
    words = (
        f"On {result.test_pictures} pictures that {unseen} seen: {result.difference_in_words}. "
        f"{trained} trained for {result.epochs} epochs{', alike' if both else ''}. "
        f"{result.hand_made_in_words}".rstrip()
    )
    columns = ["", "architecture", "parameters", "multiply-adds", "ms", "accuracy [95 %]"]
    times = f" Times on {result.measured_on}, in a process of their own."
    sections = [Section("Beside a network made by hand", words + times, columns, result.lines)]
    if result.prediction:
        sections.append(Section("What the search expected", result.prediction))
    sections += _pictures("Pictures that could not be read", result.unreadable)
    sections += _pictures("Pictures left out of the test", result.left_out)
    if result.equal:
        rows = [[" = ".join(names)] for names in result.equal]
        sections.append(Section("Equal pictures", "", ["equal pictures"], rows))
    return Summary(facts, sections)


def _pictures(title: str, reasons: Mapping[str, str]) -> Iterator[Section]:
    if reasons:
        yield Section(title, "", ["picture", "why"], list(reasons.items()))


write_design_report = html.result_report(
    "asvit design",
    DesignResult,
    summary,
    lambda _result: (),
    lambda result: [
        html.section("Each stage again", html.card(html.code("\n".join(result.commands))))
    ],
)
