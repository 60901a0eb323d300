"""Runs that are killed at random moments end as runs that were never killed."""

import pytest

from experiments.kill_runs import COMMANDS, Campaign

QUICK = ("reference build", "train", "supernet train")  # half a second each


@pytest.mark.parametrize("name", QUICK)
def test_a_few_kills_change_nothing(campaign: Campaign, name: str) -> None:
    assert campaign.kill(name, 4).kills >= 4


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_many_kills_change_nothing(campaign: Campaign, name: str) -> None:
    assert campaign.kill(name, 16).kills >= 16
