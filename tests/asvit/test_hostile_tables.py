"""Tables with anything in them: read, or refused with one error that a command can show."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asvit.reference.result import Values
from asvit.search import read_trials
from scaling.trajectory import from_csv
from tests.hostile import LONGEST, refused_or

TRIALS = "number,architecture,params,macs,x,reward,entropy,state,reason\n"
VALUES = "architecture,image_size,x,reason\n"
STEPS = "step,kind,architecture,depths,width,measured_width,params,macs,x,rank_sum,chosen,reason\n"
#: What csv itself refuses, or what no number is.
HOSTILE = ('"', '"a"b', "\0", "x" * 200_000, "1e999", "nan", "-1", "\r", "9" * 5000, "٣")

contents = st.one_of(
    st.text(max_size=200),
    st.builds(
        lambda head, lines: head + "\n".join(",".join(cells) for cells in lines),
        st.sampled_from(["", TRIALS, VALUES, STEPS]),
        st.lists(st.lists(st.sampled_from((*HOSTILE, "1", "complete", "")), max_size=13)),
    ),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents)
def test_tables_are_read_or_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "trials.csv"
    path.write_text(content, encoding="utf-8", errors="surrogatepass")
    refused_or(lambda: read_trials(path))
    refused_or(lambda: Values.from_csv(content))
    try:
        from_csv(content)
    except ValueError as error:
        assert len(str(error)) < LONGEST  # noqa: PT017


@pytest.mark.parametrize("head", [TRIALS, VALUES, STEPS])
def test_a_cell_that_csv_refuses_is_an_error_with_its_line(head: str, tmp_path: Path) -> None:
    content = head + "x" * 200_000 + "\n"
    path = tmp_path / "trials.csv"
    path.write_text(content)
    read = {
        TRIALS: lambda: read_trials(path),
        VALUES: lambda: Values.from_csv(content),
        STEPS: lambda: from_csv(content),
    }[head]
    with pytest.raises(ValueError, match=r"line 2: field larger than field limit"):
        read()
