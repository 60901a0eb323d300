import optuna
import pytest

from asvit.search import SearchSettings
from asvit.search.study import StudyStore, create_study, first_study, quiet_optuna


def make_study() -> optuna.Study:
    with quiet_optuna():
        storage = optuna.storages.InMemoryStorage()
        assert first_study(storage) is None
        study = create_study(storage, "search", {"x": "lower", "length": "higher"})
        assert first_study(storage) is not None
    assert [way.name for way in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert study.metric_names == ["x", "length"]
    return study


def test_what_a_study_was_started_with_comes_back() -> None:
    study, images = make_study(), {"source": "fractal", "digest": "a" * 64}
    assert StudyStore(study).settings is None
    StudyStore(study).start(SearchSettings.make(steps=10), images=images, device="cuda")
    other = {"source": "mine", "digest": "b" * 64}
    store = StudyStore(study)
    store.start(SearchSettings.make(steps=20), images=other, device="cpu")
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
    StudyStore(study).start(settings, **start)
    assert study.user_attrs == {**start, "settings": settings.to_json()}
