"""Work on several cores whose result does not depend on how many there are."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

__all__ = ["bands", "in_threads", "thread_count"]

_POOL: tuple[int, int, ThreadPoolExecutor] | None = None


def thread_count() -> int:
    """Threads used: torch's own number, so that ``torch.set_num_threads`` holds here too."""
    import torch

    return max(1, torch.get_num_threads())


def in_threads(work, tasks) -> None:
    """Call ``work(*task)`` for each task; the tasks must write to different places."""
    global _POOL
    tasks = list(tasks)
    threads = min(thread_count(), len(tasks))
    if threads <= 1:
        for task in tasks:
            work(*task)
        return
    # threads do not survive a fork, so the pool belongs to one process
    if _POOL is None or _POOL[0] != os.getpid() or _POOL[1] != thread_count():
        _POOL = (os.getpid(), thread_count(), ThreadPoolExecutor(thread_count()))
    list(_POOL[2].map(lambda task: work(*task), tasks))


def bands(count: int, parts: int) -> list[tuple[int, int]]:
    """[0, count) cut into at most `parts` nearly equal ranges; depends on nothing else."""
    parts = max(1, min(parts, count))
    edges = [count * k // parts for k in range(parts + 1)]
    return list(zip(edges[:-1], edges[1:]))
