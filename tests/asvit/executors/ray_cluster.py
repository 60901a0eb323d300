"""A search on a Ray cluster of two nodes of this machine, one of which dies; run as a script.

``python ray_cluster.py FOLDER JSON``: settings of the search, ``jobs`` and ``kill_at``, the step
after which the second node is killed.
"""

import json
import sys
from pathlib import Path

from ray.cluster_utils import Cluster

from asvit.executors import Workers
from asvit.runs import run_search
from asvit.search import StepEvent


def main() -> None:
    folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    jobs, kill_at = settings.pop("jobs"), settings.pop("kill_at")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()

    def kill(event: StepEvent) -> None:
        if event.step == kill_at:
            cluster.remove_node(second, allow_graceful=False)

    try:
        workers = Workers(jobs=jobs, ray=cluster.address)
        run_search(out=folder, workers=workers, progress=kill, **settings)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
