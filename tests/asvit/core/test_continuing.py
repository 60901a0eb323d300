"""Whether a run goes on as it was started."""

from pathlib import Path

import pytest

from asvit.core.continuing import check_same
from asvit.core.shared_settings import MeasuringSettings
from asvit.designs.settings import DesignSettings
from tests.asvit.toy_run import ToySettings


def test_other_settings_are_refused_with_each_difference(tmp_path) -> None:
    stored, wanted = ToySettings("x"), ToySettings("x", steps=4, rate=0.25)
    with pytest.raises(ValueError, match=r"started with rate 0\.5 \(now 0\.25\); give"):
        check_same(tmp_path, stored, wanted, growing=("steps",))
    with pytest.raises(ValueError, match=r"steps 4 \(now 3\), rate"):
        check_same(tmp_path, wanted, stored, growing=("steps",))
    free, limited = (DesignSettings("x", max_params=most) for most in (None, 5_000_000))
    with pytest.raises(ValueError, match=r"started with max_params not given \(now 5000000\)"):
        check_same(tmp_path, free, limited)


def test_two_paths_to_the_same_are_no_other_settings(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "others").mkdir()
    before = MeasuringSettings(data="pictures")
    for same in (tmp_path / "pictures", "./pictures", "others/../pictures"):
        check_same(tmp_path, before, MeasuringSettings(data=str(same)))
    for other in ("others", "nowhere", "digits"):
        with pytest.raises(ValueError, match=f"data pictures .now {other}"):
            check_same(tmp_path, before, MeasuringSettings(data=other))
