"""The report of a design: what was found, how good, how fast and how big it is."""

from collections.abc import Iterator

from asvit.core.console import number
from asvit.designs import DesignResult
from asvit.report import html
from asvit.report.html import result_report


def _facts(result: DesignResult) -> dict[str, str]:
    low, high = result.accuracy_interval
    return {
        "accuracy": f"{result.accuracy:.1f} % ({low:.1f} to {high:.1f})",
        "time of a forward pass": f"{number(result.latency_ms)} ms",
        "parameters": number(result.params),
        "multiply-adds": number(result.macs),
        "image size": f"{result.image_size} px",
        "classes": str(len(result.classes)),
        "pictures to train on": number(result.train_pictures),
        "pictures to test on": number(result.test_pictures),
    }


def _more(result: DesignResult) -> Iterator[str]:
    columns = ["", "architecture", "parameters", "multiply-adds", "ms", "accuracy [95 %]"]
    told, both = result.difference_in_words, result.hand_made is not None
    unseen, trained = ("neither had", "Both were") if both else ("it had not", "It was")
    yield html.section(
        "Beside a network made by hand",
        html.paragraph(
            f"On {result.test_pictures} pictures that {unseen} seen: {told}. {trained} trained "
            f"for {result.epochs} epochs{', alike' if both else ''}. "
            f"{result.hand_made_in_words}".rstrip()
        ),
        html.card(html.table(columns, result.lines, numeric={*columns[2:5]})),
        html.paragraph(f"Times on {result.measured_on}, in a process of their own.", "quiet"),
    )
    if result.prediction:
        yield html.section("What the search expected", html.paragraph(result.prediction))
    if result.unreadable:
        found = html.table(["picture", "why"], [*result.unreadable.items()])
        yield html.section("Pictures that could not be read", html.card(found))
    if result.left_out:
        found = html.table(["picture", "why"], [*result.left_out.items()])
        yield html.section("Pictures left out of the test", html.card(found))
    if result.equal:
        found = html.table(["equal pictures"], [[" = ".join(names)] for names in result.equal])
        yield html.section("Equal pictures", html.card(found))
    yield html.section("Each stage again", html.card(html.code("\n".join(result.commands))))


write_design_report = result_report(
    "asvit design", DesignResult, _facts, lambda _result: (), _more
)
