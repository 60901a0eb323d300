"""Runs that are killed at random moments end as runs that were never killed."""

import pytest

from experiments.kill_runs import COMMANDS, Campaign

ENOUGH = 5.0  # seconds of runs to kill


@pytest.mark.parametrize("name", ["reference build", "train"])
def test_a_few_kills_change_nothing(campaign: Campaign, name: str) -> None:
    assert campaign.kill(name, 4).kills >= 4


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_many_kills_change_nothing(campaign: Campaign, name: str) -> None:
    campaign.reference(name)
    kills = max(4, round(ENOUGH / campaign.tallies[name].seconds))
    assert campaign.kill(name, campaign.tallies[name].kills + kills).kills >= kills
