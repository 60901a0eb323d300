"""Words of messages."""

import pytest

from proxies.messages import first_line, hint, nearest, unknown


def test_the_nearest_name_or_all_of_them() -> None:
    names = {"reinforce": 1, "random": 2}
    assert nearest("reinforc", names) == "reinforce"
    assert nearest("xyzzy", names) is None
    assert nearest("RANDOM", names) == "random"
    assert nearest("ONNX", ["Onnx", "onnx"]) in {"Onnx", "onnx"}
    assert hint("randm", names) == "did you mean 'random'?"
    assert hint("xyzzy", iter(names)) == "use one of reinforce, random"
    assert unknown("controller", "xyzzy", names) == (
        "unknown controller 'xyzzy'; use one of reinforce, random"
    )


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\nb"), "a"),
        (ValueError("\n  a\nb"), "a"),
        (ValueError(), "ValueError"),
        (OSError(28, "No space left"), "[Errno 28] No space left"),
    ],
)
def test_first_line(error: Exception, line: str) -> None:
    assert first_line(error) == line
