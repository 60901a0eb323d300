"""What tests of faults share: runs that nothing has befallen, to compare with."""

import os

import pytest

from experiments import forked
from experiments.kill_runs import Campaign

forked.PRELOADED.append("tests.quick_figures")

#: Other moments than usual: any number.
SEED = int(os.environ.get("ASVIT_KILL_SEED", "0"))


@pytest.fixture(scope="session")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    forked.run(int)  # starts the server, so that the first run is as fast as the others
    return Campaign(tmp_path_factory.mktemp("runs"), seed=SEED)
