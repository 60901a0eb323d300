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


def test_rows_of_several_families_say_whose_and_why(tmp_path: Path) -> None:
    path = tmp_path / "trials.csv"
    rows = [
        make_row(0, family="resnet", origin="by hand"),
        make_row(1, family="swin", origin="random"),
        make_row(2, family="resnet", origin="chosen"),
    ]
    write_trials(path, rows, MEASURES)
    first, second, *_ = path.read_text().splitlines()
    assert first.endswith(",state,reason,family,origin")
    assert second.endswith(",complete,,resnet,by hand")
    assert read_trials(path) == rows
    path.write_text(path.read_text().replace("chosen", "guessed"))
    with pytest.raises(ValueError, match=r"line 4: origin must be one of .* got 'guessed'"):
        read_trials(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: "a,b\n1,2\n", "not a table of trials"),
        (lambda text: "", "not a table of trials"),
        (lambda text: text.replace("-0.25", "much"), "line 2: could not convert"),
        (lambda text: text.replace("complete", "fine"), "line 2: state must be"),
        (lambda text: text[: text.rindex(",15.33")] + "\n", "line 2"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, damage: object, message: str) -> None:
    path = tmp_path / "trials.csv"
    write_trials(path, [make_row()], MEASURES)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=message):
        read_trials(path)
