"""Executors: run independent tasks in this process, in local processes or on a Ray cluster.

Describe the :class:`Work`, open a :class:`Pool` for it, and iterate over the answers, which come
in any order. If a task loses its worker, another worker retries it; after the last retry the task
fails with a reason. Other tasks are not affected.
"""

from asvit.executors.base import (
    Answer,
    Task,
    Work,
    Worker,
    Workers,
    apart_from_garbage,
    one_thread,
)
from asvit.executors.pool import Pool, open_pool

__all__ = [
    "Answer",
    "Pool",
    "Task",
    "Work",
    "Worker",
    "Workers",
    "apart_from_garbage",
    "one_thread",
    "open_pool",
]
