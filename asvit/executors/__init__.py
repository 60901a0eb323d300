"""Executors: independent tasks in this process, in local processes or on a Ray cluster.

Whoever has tasks describes the :class:`Work`, opens a :class:`Pool` for it and iterates over the
answers, in whatever order they come. A task that its worker did not survive is tried again
elsewhere, and fails with a reason in the end; the others are not touched by it.
"""

from asvit.executors.base import Answer, Task, Work, Worker, Workers
from asvit.executors.opening import open_pool
from asvit.executors.pool import Pool
from asvit.executors.threads import one_thread

__all__ = ["Answer", "Pool", "Task", "Work", "Worker", "Workers", "one_thread", "open_pool"]
