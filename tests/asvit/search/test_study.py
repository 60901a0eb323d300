from pathlib import Path

import optuna
import pytest

from asvit.search import SearchSettings
from asvit.search.study import (
    check_device,
    check_images,
    check_settings,
    create_study,
    find_study,
    keep_start,
    open_url,
    quiet_optuna,
    stored_settings,
)

FOLDER = Path("runs/x")


def make_study() -> optuna.Study:
    with quiet_optuna():
        return create_study(optuna.storages.InMemoryStorage(), "search", {"length": "higher"})


def test_changed_settings_are_refused_one_by_one() -> None:
    study = make_study()
    check_settings(study, SearchSettings(), FOLDER)
    keep_start(study, SearchSettings(), None)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        check_settings(study, SearchSettings(image_size=64, seed=3), FOLDER)
    assert str(caught.value) == (
        "run folder runs/x was started with other settings: image_size 224 (now 64), "
        "seed 0 (now 3); give --out for a new folder or --fresh to start over"
    )
    assert stored_settings(study) == SearchSettings()


def test_more_steps_extend_and_fewer_are_refused() -> None:
    study = make_study()
    keep_start(study, SearchSettings(steps=10), None)
    check_settings(study, SearchSettings(steps=20), FOLDER)
    keep_start(study, SearchSettings(steps=20), None)
    assert stored_settings(study) == SearchSettings(steps=20)
    with pytest.raises(ValueError, match=r"steps 20 \(now 10\)"):
        check_settings(study, SearchSettings(steps=10), FOLDER)


def test_a_study_with_trials_but_no_settings_is_not_ours() -> None:
    study = make_study()
    study.tell(study.ask(), 1.0)
    with pytest.raises(ValueError, match="that asvit did not start"):
        check_settings(study, SearchSettings(), FOLDER)


def test_other_images_are_refused() -> None:
    study = make_study()
    first = {"source": "fractal", "digest": "a" * 64}
    check_images(study, first, FOLDER)
    keep_start(study, SearchSettings(), first)
    check_images(study, first, FOLDER)
    message = r"other images: fractal, digest a{12} \(now mine, digest b{12}\); give --out"
    with pytest.raises(ValueError, match=message):
        check_images(study, {"source": "mine", "digest": "b" * 64}, FOLDER)


def test_another_device_is_refused() -> None:
    study = make_study()
    check_device(study, "cpu", FOLDER)  # of an older version, which did not keep it
    keep_start(study, SearchSettings(), None, "cuda")
    check_device(study, "cuda", FOLDER)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        check_device(study, "cpu", FOLDER)
    assert str(caught.value) == (
        "run folder runs/x was started on device cuda (now cpu); "
        "give --out for a new folder or --fresh to start over"
    )
    keep_start(study, SearchSettings(), None, "cpu")
    assert study.user_attrs["device"] == "cuda"


@pytest.mark.parametrize(
    "url", ["sqlite:////no/such/folder/x.db", "mailto:x", "nonsense", "mysql+no://x"]
)
def test_a_storage_that_cannot_be_opened_is_named(url: str) -> None:
    with quiet_optuna(), pytest.raises(ValueError, match="cannot open the storage") as caught:
        open_url(url)
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_storage_of_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    with quiet_optuna():
        assert find_study(open_url(url), "a") is None
        create_study(open_url(url), "a", {"x": "lower", "y": "higher"})
        found = find_study(open_url(url), "a")
    assert found is not None
    assert [way.name for way in found.directions] == ["MINIMIZE", "MAXIMIZE"]


def test_the_librarys_verbosity_is_put_back() -> None:
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    with quiet_optuna():
        assert optuna.logging.get_verbosity() == optuna.logging.WARNING
    assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with quiet_optuna():
        assert optuna.logging.get_verbosity() == optuna.logging.ERROR


def test_a_password_is_not_told() -> None:
    with quiet_optuna(), pytest.raises(ValueError, match="cannot open the storage") as caught:
        open_url("nodatabase://me:secret@host/name")
    assert "secret" not in str(caught.value)
    assert "me:***@host" in str(caught.value)
