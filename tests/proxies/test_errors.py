"""One line from any error."""

from proxies.errors import first_line


def test_first_line() -> None:
    assert first_line(ValueError("what is wrong\nand where")) == "what is wrong"
    assert first_line(NotImplementedError()) == "NotImplementedError"
    assert first_line(ValueError("\n")) == "ValueError"
