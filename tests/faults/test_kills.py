"""Runs that are killed at random moments end as runs that were never killed."""

import os

import pytest

from experiments import forked
from experiments.kill_runs import COMMANDS, Campaign

#: Other moments than usual: any number.
SEED = int(os.environ.get("ASVIT_KILL_SEED", "0"))

QUICK = ("reference build", "train", "supernet train")  # half a second each


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    forked.run(int)  # starts the server, so that the first run is as fast as the others
    return Campaign(tmp_path_factory.mktemp("kills"), seed=SEED)


@pytest.mark.parametrize("name", QUICK)
def test_a_few_kills_change_nothing(campaign: Campaign, name: str) -> None:
    assert campaign.kill(name, 4).kills >= 4


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_many_kills_change_nothing(campaign: Campaign, name: str) -> None:
    assert campaign.kill(name, 16).kills >= 16
