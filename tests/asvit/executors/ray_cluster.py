"""Searches in this process, and again on a Ray cluster of two nodes, one of which dies half-way.

Run as a script: ``python ray_cluster.py FOLDER JSON``, with the settings of each search by its
name. Its runs are ``alone`` and ``ray`` in a folder of that name.
"""

import json
import os
import sys
from pathlib import Path
from threading import Thread
from typing import Any

HERE = Path(__file__).parent
HALF_WAY = 4  # steps or trainings before the node dies


def main() -> None:
    folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    # Inherited by the nodes' workers, so it is there before Ray is.
    os.environ |= {
        "ASVIT_EXTENSIONS": "half_way",
        "HALF_WAY": str(folder),
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
    }
    import half_way
    from ray.cluster_utils import Cluster

    from asvit.core.progress import Progress
    from asvit.executors import Workers
    from asvit.runs.search import run_search

    for name, chosen in settings.items():
        run_search(out=folder / name / "alone", workers=Workers(jobs=1), **chosen)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    workers = Workers(ray=cluster.address)
    try:
        for name, chosen in settings.items():
            second = cluster.add_node(num_cpus=1)
            cluster.wait_for_nodes()

            def kill(node: Any = second) -> None:
                half_way.wait_for(half_way.BUSY)
                cluster.remove_node(node, allow_graceful=False)

            killer = Thread(target=kill, daemon=True)

            def order(event: Progress, node: Any = second, killer: Thread = killer) -> None:
                if event.unit in ("step", "training") and event.done == HALF_WAY:
                    half_way.order(node.node_id)
                    killer.start()

            run_search(out=folder / name / "ray", workers=workers, progress=order, **chosen)
            killer.join()
            half_way.again()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
