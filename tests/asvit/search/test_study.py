from contextlib import nullcontext
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from sqlalchemy.exc import OperationalError

from asvit.core.continuing import check_same_device, check_same_images
from asvit.search import SearchSettings, study
from asvit.search.study import StudyStore, create_study, find_study, open_url, quiet_optuna


def make_study() -> optuna.Study:
    with quiet_optuna():
        storage = optuna.storages.InMemoryStorage()
        assert find_study(storage, "search") is None
        study = create_study(storage, "search", {"x": "lower", "length": "higher"})
        assert find_study(storage, "search") is not None
    assert [way.name for way in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert study.metric_names == ["x", "length"]
    return study


def test_what_a_study_was_started_with_comes_back() -> None:
    study, images = make_study(), {"source": "fractal", "digest": "a" * 64}
    assert StudyStore(study).settings is None
    assert StudyStore(study).start(SearchSettings.make(steps=10), images=images, device="cuda")
    other = {"source": "mine", "digest": "b" * 64}
    store = StudyStore(study)
    assert store.start(SearchSettings.make(steps=20), images=other, device="cpu")
    assert StudyStore(study).settings == SearchSettings.make(steps=20)  # extended; the rest stays
    assert (study.user_attrs["images"], study.user_attrs["device"]) == (images, "cuda")


@pytest.mark.parametrize("written", range(4))
def test_a_start_that_was_cut_short_is_made_again(
    monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    study, settings = make_study(), SearchSettings.make(steps=10)
    start = {"images": {"source": "fractal", "digest": "a" * 64}, "device": "cpu"}
    start["versions"] = {"torch": "2.15.0"}
    own, calls = study.set_user_attr, []

    def killed(name: str, value: object) -> None:
        if len(calls) == written:
            raise KeyboardInterrupt
        calls.append(name)
        own(name, value)

    with monkeypatch.context() as patch:
        patch.setattr(study, "set_user_attr", killed)
        with pytest.raises(KeyboardInterrupt):
            StudyStore(study).start(settings, **start)
    assert StudyStore(study).settings is None
    assert StudyStore(study).start(settings, **start)
    assert study.user_attrs == {**start, "settings": settings.to_json()}


def test_a_study_that_a_function_measured_may_lack_images_and_device() -> None:
    kept = make_study().user_attrs
    check_same_images(Path("run"), kept.get("images"), {"source": "fractal", "digest": "a" * 64})
    check_same_device(Path("run"), kept.get("device"), "cpu")


@pytest.mark.parametrize(
    "url", ["sqlite:////no/such/folder/x.db", "mailto:x", "nonsense", "mysql+no://x"]
)
def test_a_storage_that_cannot_be_opened_is_named(url: str) -> None:
    with quiet_optuna(), pytest.raises(ValueError, match="cannot open the storage") as caught:
        open_url(url)
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "opened"),
    [
        ("table studies already exists", True),
        ("database is locked", True),
        ("connection refused", False),
    ],
)
def test_a_database_that_another_process_is_making_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str, opened: bool
) -> None:
    make, tries = study._open, list[str]()

    def first_fails(url: str) -> RDBStorage:
        tries.append(url)
        if len(tries) == 1:
            raise OperationalError("CREATE TABLE studies", {}, Exception(message))
        return make(url)

    monkeypatch.setattr(study, "_open", first_fails)
    monkeypatch.setattr(study, "_MAKING_SECONDS", 0)
    with nullcontext() if opened else pytest.raises(ValueError, match=message):
        open_url(f"sqlite:///{tmp_path}/study.db")
    assert len(tries) == 1 + opened


def test_the_librarys_verbosity_is_put_back() -> None:
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    with quiet_optuna():
        assert optuna.logging.get_verbosity() == optuna.logging.WARNING
    assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with quiet_optuna():
        assert optuna.logging.get_verbosity() == optuna.logging.ERROR
