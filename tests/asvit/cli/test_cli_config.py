"""``--config``: options from a TOML file are those of the command line, which win over them."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from asvit.cli.config_file import read_config
from tests.asvit.cli.commands import check_refused, run
from tests.hostile import refused_or

pytestmark = pytest.mark.usefixtures("quick_figures", "toy_kind")


def configured(text: str, *words: object) -> Result:
    Path("run.toml").write_text(text, encoding="utf-8")
    return run("toy", "--config", "run.toml", *words)


def settings_of(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["settings"]


ALL = """
name = "x"
steps = 4
rate = 0.25
pair = "c:d"
mode = "squared"
proxy = ["params", "macs"]
limit = 3
again = true
json = true
out = "run"
"""


def test_a_file_stands_for_what_could_be_typed() -> None:
    typed = [
        *("x", "--steps", "4", "--rate", "0.25", "--pair", "c:d", "--mode", "squared"),
        *("--proxy", "params,macs", "--limit", "3", "--again", "--json", "--out", "other"),
    ]
    assert settings_of(configured(ALL)) == settings_of(run("toy", *typed))
    assert (Path("run") / "result.json").exists()


def test_what_is_typed_wins() -> None:
    told = settings_of(configured(ALL, "y", "--steps", "5", "--proxy", "depth"))
    assert (told["name"], told["steps"], told["proxies"]) == ("y", 5, ["depth"])
    assert (told["rate"], told["limit"]) == (0.25, 3)


@pytest.mark.parametrize("key", ["image_size", "image-size"])
@pytest.mark.parametrize("measures", ["proxy", "proxies"])
def test_names_are_those_of_options_and_of_settings(key: str, measures: str) -> None:
    Path("run.toml").write_text(f'{key} = 0\n{measures} = "macs,params"\n')
    refused = run("search", "--config", "run.toml")
    check_refused(refused, 2, f"run.toml: {key}: 0 is not in the range x>=1")


def test_a_preset_may_be_in_it_and_gives_way() -> None:
    told = settings_of(configured('name = "x"\npreset = "few"\nrate = 1\n', "--json"))
    assert (told["steps"], told["rate"]) == (2, 1.0)


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("step = 3", 2, "run.toml: unknown option 'step'; did you mean 'steps'?"),
        ("[train]\nsteps = 3", 2, "unknown option 'train'"),
        ("config = 'a'", 2, "unknown option 'config'"),
        ("debug = true", 2, "unknown option 'debug'"),
        ("fresh = true", 2, "run.toml: fresh would start over each time; type --fresh beside"),
        ("steps = 0", 2, "run.toml: steps: 0 is not in the range x>=1"),
        ("steps = 2.5", 2, "run.toml: steps: '2.5' is not a valid whole number"),
        ("steps = true", 2, "run.toml: steps must be a text or a number, got 'true'"),
        ("steps = {a = 1}", 2, "run.toml: steps must be texts or numbers"),
        ("steps = 1979-05-27", 2, "run.toml: steps must be texts or numbers"),
        ("steps = [1, 2]", 2, "run.toml: steps: '1,2' is not a valid whole number"),
        ("proxy = [true]", 2, "run.toml: proxy must be texts or numbers"),
        ("proxy = ['parumz']", 2, "did you mean 'params'"),
        ("proxy = 'macs'\nproxies = 'params'", 2, "run.toml has proxy twice"),
        ("again = 1", 2, "run.toml: again must be true or false, got '1'"),
        ("again = 'yes'", 2, "run.toml: again must be true or false, got 'yes'"),
        ("rate = 2", 2, "rate must be a number above 0 and at most 1, got 2.0"),
        ("rate = nan", 2, "rate must be a number above 0 and at most 1, got nan"),
        ("pair = 'ab'", 2, "run.toml: pair: 'ab' has no colon"),
        ("steps = ", 3, "run.toml is no TOML: Invalid value"),
        ("steps = 3\nsteps = 4", 3, "run.toml is no TOML: Cannot overwrite a value"),
        ("a = " + "[" * 5_000, 3, "run.toml is no TOML: "),
        ("#" * 2**20 + "\n", 3, "has more than 1,048,576 bytes"),
    ],
)
def test_what_is_wrong_in_it_is_one_line_and_leaves_nothing(
    text: str, code: int, told: str
) -> None:
    check_refused(configured(text, "x", "--out", "run"), code, told)
    assert not Path("run").exists()


def test_without_a_name_that_is_required_the_command_says_so() -> None:
    check_refused(configured("steps = 3"), 2, "Missing argument")


@given(text=st.text(max_size=60) | st.dictionaries(st.text(), st.integers()).map(str))
def test_fuzz_any_text_is_read_or_refused_in_a_line(text: str) -> None:
    path = Path("any.toml")
    path.write_text(text, encoding="utf-8", errors="replace")
    refused_or(lambda: read_config(path))


def test_a_program_is_started_only_if_it_is_typed() -> None:
    Path("run.toml").write_text("max-latency = '9ms'\nlatency-command = 'touch made {onnx}'\n")
    small = "--space asvit-tiny --image-size 32 --images 2 --points 3 --device cpu"
    words = ["search", "--config", "run.toml", *small.split()]
    check_refused(run(*words), 2, "a program, which a file does not start; type --latency-command")
    typed = run(*words, "--latency-command", "typed")
    check_refused(typed, 2, "'typed' does not name the file as {onnx}")
    assert not Path("made").exists()
