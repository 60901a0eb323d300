"""What tests of faults share: runs that nothing has befallen, to compare with.

They run nightly, but for some of each kind.
"""

import os
import re
from pathlib import Path

import pytest

from tests.campaigns import forked
from tests.campaigns.kill_runs import Campaign

forked.PRELOADED.append("tests.quick_figures")

#: Those in every run: a moment or two of each kind of fault. Kills choose theirs by a seed.
ALWAYS = re.compile(
    r"test_stopped_once_and_continued"
    r"|test_(kills_at_random_change_nothing|of_three_processes_started_at_once_one_goes_on)\[train\]"
    r"|test_a_full_disk_ends_a_run.*\[train|test_the_weights_before_stand_in.*\[gone-train"
    r"|test_(a_folder_that_may_only_be_read\[train|a_loss_|weights_to_start_from|the_code_tells)"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            slow = item.get_closest_marker("slow") is not None
            if slow or not ALWAYS.match(item.name):
                item.add_marker(pytest.mark.nightly)


#: Other moments than usual: any number.
SEED = int(os.environ.get("ASVIT_KILL_SEED", "0"))


@pytest.fixture(scope="session")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    forked.run(int)  # starts the server, so that the first run is as fast as the others
    return Campaign(tmp_path_factory.mktemp("runs"), seed=SEED)
