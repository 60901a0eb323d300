"""What commands write on a terminal about things that others made."""

import logging
import types

import click
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asvit.cli import app as app_module
from asvit.cli.app import app
from asvit.core.console import console, table
from tests.hostile import FEW

SOME = settings(FEW, suppress_health_check=[HealthCheck.function_scoped_fixture])
NASTY = "a\x1b]0;owned\x07\x1b[2Jb\x9b31m\u202ec\r\nd\x00\ud800"

nasty = st.one_of(st.just(NASTY), st.text(st.characters(), max_size=60))


def seen(monkeypatch: pytest.MonkeyPatch, act, *args: str) -> click.testing.Result:
    """What ``asvit cost`` ends in when all that it does is ``act``."""
    command = click.command()(act)
    module = types.SimpleNamespace(command=command)
    monkeypatch.setattr(app_module, "import_module", lambda _name: module)
    return CliRunner().invoke(app, [*args, "cost"])


def check(text: str, lines: int = 1) -> None:
    assert text.endswith("\n")
    assert [line for line in text.split("\n") if not line.isprintable()] == []
    assert lines == 0 or text.count("\n") == lines


@SOME
@given(nasty, st.integers(0, 5))
def test_errors(monkeypatch: pytest.MonkeyPatch, text: str, which: int) -> None:
    error, code = (
        (ValueError(text), 3),
        (OSError(5, text, text), 3),
        (OSError(2, "No such file", text.encode("utf-8", "surrogatepass")), 3),
        (click.ClickException(text), 3),
        (click.UsageError(text), 2),
        (TypeError(text), 1),
    )[which]

    def act() -> None:
        raise error

    result = seen(monkeypatch, act)
    assert result.exit_code == code
    check(result.stderr)
    debugged = seen(monkeypatch, act, "--debug")
    assert debugged.exit_code == code
    check(debugged.stderr, lines=0)


@SOME
@given(nasty)
def test_log_lines(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    for name in ("asvit.x", "scaling.x", "proxies.x"):

        def act(name: str = name) -> None:
            logging.getLogger(name).warning("not using %s", text)

        result = seen(monkeypatch, act)
        assert result.exit_code == 0
        check(result.stderr)


@SOME
@given(nasty)
def test_tables_and_lines(capsys: pytest.CaptureFixture[str], text: str) -> None:
    capsys.readouterr()
    screen = console()
    screen.print(table([text, "b"], [[text, 1], [None, text]], title=text, left=[text]))
    screen.print(f"folder: {text}")
    for line in capsys.readouterr().out.split("\n"):
        assert line.isprintable()


def test_our_own_colours_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    screen = console()
    with screen.capture() as captured:
        screen.print(table([NASTY], [[NASTY]]))
    assert "\x1b[1m" in captured.get()  # bold headings
    assert "\x1b]0;" not in captured.get()
