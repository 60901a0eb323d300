from pathlib import Path

import pytest
from fake_search import make_row
from hypothesis import given
from hypothesis import strategies as st

from asvit.search import read_trials, write_trials

MEASURES = ["length_distortion", "ntk_condition_number"]
FLOATS = st.floats(allow_nan=False)


@given(st.lists(st.tuples(FLOATS, FLOATS, FLOATS, st.text(st.characters(codec="utf-8")))))
def test_reading_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[float, float, float, str]]
) -> None:
    rows = [
        make_row(
            number,
            values=dict(zip(MEASURES, (length, kappa), strict=True)),
            reward=reward,
            reason=" ".join(reason.split()),
        )
        for number, (length, kappa, reward, reason) in enumerate(cells)
    ]
    path = tmp_path_factory.mktemp("rows") / "trials.csv"
    write_trials(path, rows, MEASURES)
    assert read_trials(path) == rows


def test_sizes_that_are_measures_keep_their_one_column(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    measures = ["macs", "length_distortion", "params"]
    values = {"macs": 123.0, "length_distortion": 0.5, "params": 2_319_624.0}
    write_trials(path, [make_row(values=values)], measures)
    assert path.read_text().splitlines()[0] == (
        "number,architecture,params,macs,length_distortion,reward,entropy,state,reason"
    )
    assert read_trials(path, measures) == [make_row(values=values)]
    assert read_trials(path)[0].values == {"length_distortion": 0.5}
