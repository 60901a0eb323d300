"""Names of measures and their combinations."""

import pytest

from asvit.reference.query import counts, direction, is_trivial, resolve
from asvit.reference.settings import parts
from proxies import PROXIES


def test_the_counts_come_first_params_and_macs_at_their_head() -> None:
    names = [proxy.name for proxy in counts()]
    assert names[:2] == ["params", "macs"]
    assert set(names) == {proxy.name for proxy in PROXIES.values() if not proxy.random}
    assert resolve(["length_distortion"]) == (*names, "length_distortion")


def test_all_is_every_measure_once_beside_what_else_is_asked_for() -> None:
    found = resolve(["params", "all", "snip + params", "macs"])
    assert set(found) == {*PROXIES, "snip+params"}
    assert len(found) == len(set(found))


def test_directions() -> None:
    assert direction("ntk_condition_number") == "lower"
    assert direction("ntk_condition_number+params") == "higher"  # a sum of ranks
    assert parts("a+b") == ["a", "b"]


def test_a_combination_is_trivial_if_all_of_it_is() -> None:
    assert is_trivial("params+macs")
    assert not is_trivial("params+length_distortion")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lenght_distortion", "unknown proxy 'lenght_distortion'; did you mean 'length_"),
        ("params+lenght_distortion", "did you mean 'length_distortion'"),
        ("params+", "unknown proxy ''"),
        ("params+gauss_map_length", "'gauss_map_length' is only reported and cannot be ranked"),
        ("params+macs+params", "names a measure more than once"),
    ],
)
def test_names_that_are_wrong(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("+", r"\+")):
        resolve([name])
