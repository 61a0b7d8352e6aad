"""Work on rows that do not depend on one another, in threads of our own."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from threadpoolctl import ThreadpoolController

__all__ = ["in_slices", "one_blas_thread"]


def in_slices(count: int, size: int, work) -> None:
    """Call ``work(start, stop)`` on slices of `size` rows, the last one shorter.

    Slices do not depend on the number of threads, so neither do results that depend on slices.
    """
    starts = range(0, count, size)
    threads = min(_cores(), len(starts), 16)
    if threads <= 1:
        for start in starts:
            work(start, min(start + size, count))
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, start, min(start + size, count)) for start in starts]:
            done.result()


def one_blas_thread():
    """Context in which BLAS uses one thread.

    Its threads wait for one another in busy loops, which costs more than they bring where products are small or the
    machine has other work; and the number of threads would change the last bits of results.
    """
    return _controller().limit(limits=1, user_api="blas")


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))  # those this process may use, which can be fewer than there are
    except AttributeError:
        return os.cpu_count() or 1
