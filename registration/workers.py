"""Runs many small jobs in processes on this machine, or on a Dask cluster, and outlives the death of any of them."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass

from affect3d.registration.frame_work import one_blas_thread

__all__ = ["Death", "run_dask", "run_processes"]

#: Variables by which libraries of linear algebra learn how many threads to start.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

_NONE_LEFT = object()


@dataclass(frozen=True)
class Death:
    """What comes instead of a result where the worker died, twice."""

    reason: str


def run_processes(work: Callable, jobs: Iterable, count: int) -> Iterator[tuple[object, object]]:
    """Do ``work(job)`` for every job in `count` processes.

    If a process dies, all jobs that were under way are done again one by one, each in a process of its own: so the
    one whose fault it is is found, and the others lose nothing but time.

    Parameters
    ----------
    work : callable
        At module level; catches its own exceptions.
    jobs : iterable
        Is drawn from as processes become free, so it may be long.
    count : int
        Processes, at least 1.

    Yields
    ------
    job, result
        In the order in which they end; the result is a `Death` if the process died twice over this job.

    Raises
    ------
    ValueError
        If `count` is less than 1.
    """
    if count < 1:
        raise ValueError(f"count: expected at least one process, got {count}")
    waiting = iter(jobs)
    while True:
        suspects = yield from _until_broken(work, waiting, count)
        if suspects is None:
            return
        for job in suspects:
            yield job, _alone(work, job)


def run_dask(work: Callable, jobs: Iterable, address: str) -> Iterator[tuple[object, object]]:
    """Do ``work(job)`` for every job on a Dask cluster; see `run_processes`.

    Workers must have affect3d installed and see the same files under the same names.

    Parameters
    ----------
    address : str
        Of the scheduler, as in ``tcp://10.0.0.1:8786``.

    Raises
    ------
    ImportError
        If Dask is missing.
    OSError
        If no scheduler answers, or it has no workers.
    """
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise ImportError(
            "--scheduler needs Dask, which is missing: pip install 'affect3d[dask]' here and on the workers"
        ) from None
    try:
        client = Client(address, timeout=20, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise OSError(f"no Dask scheduler answers at {address}: {' '.join(str(error).split())}") from None
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise OSError(f"the Dask scheduler at {address} has no workers; start some with: dask worker {address}")
        threads = sum(client.nthreads().values())
        waiting, under_way = iter(jobs), {}
        # pure=False: a job of the same content is not a result of an earlier run, files may have changed since

        def submit():
            for job in waiting:
                future = client.submit(work, job, pure=False)
                under_way[future.key] = job
                return future

        ahead = [f for f in (submit() for _ in range(2 * threads + 2)) if f is not None]
        stream = as_completed(ahead, loop=client.loop)
        for future in stream:
            if future.status in ("lost", "pending"):  # its result went with a worker that died; Dask does it again
                stream.add(future)
                continue
            job = under_way.pop(future.key)
            following = submit()  # kept busy before the result is looked at
            if following is not None:
                stream.add(following)
            if future.status not in ("finished", "error"):
                raise OSError(f"the Dask scheduler at {address} was lost; start again to continue")
            error = future.exception()
            yield job, future.result() if error is None else Death(_dask_reason(error))


def _dask_reason(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return "the worker died, more than once"
    return f"the worker could not do it ({type(error).__name__}: {' '.join(str(error).split())[:300]})"


def _until_broken(work, waiting, count):
    """Yield results until the jobs or the pool come to an end; return what was under way then, or None."""
    pool = _pool(count)
    under_way = {}
    try:
        while True:
            while len(under_way) < 2 * count:
                job = next(waiting, _NONE_LEFT)
                if job is _NONE_LEFT:
                    break
                try:
                    under_way[pool.submit(work, job)] = job
                except BrokenProcessPool:
                    return [*under_way.values(), job]
            if not under_way:
                return None
            done, _ = concurrent.futures.wait(under_way, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                try:
                    result = future.result()
                except BrokenProcessPool:
                    # the pool is lost; what was finished before comes out, the rest is suspect
                    ended = [f for f in under_way if f.done() and f.exception() is None]
                    for f in ended:
                        yield under_way.pop(f), f.result()
                    return list(under_way.values())
                yield under_way.pop(future), result
    finally:
        _end(pool)


def _alone(work, job):
    pool = _pool(1)
    try:
        return pool.submit(work, job).result()
    except BrokenProcessPool:
        return Death("the process died twice over this frame; it may need more memory than there is")
    finally:
        _end(pool)


def _pool(count: int) -> concurrent.futures.ProcessPoolExecutor:
    # spawn: forked processes would share the state of libraries that run threads
    context = multiprocessing.get_context("spawn")
    return _QuietPool(count, mp_context=context, initializer=_begin, initargs=(os.getpid(),))


class _QuietPool(concurrent.futures.ProcessPoolExecutor):
    """Starts its processes with one thread each for linear algebra."""

    def submit(self, *arguments, **named):
        with _one_thread_each():  # processes are started here, and inherit the variables
            return super().submit(*arguments, **named)


@contextmanager
def _one_thread_each():
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _begin(parent: int) -> None:
    import signal

    # Ctrl-C goes to all processes of a terminal; the parent alone decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    one_blas_thread()


def _follow(parent: int) -> None:
    """End this process when its parent is gone: a parent that was killed cannot say goodbye."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _end(pool) -> None:
    """Let go of a pool at once; frames under way are lost, which costs nothing but time."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        if process.is_alive():
            process.terminate()
    for process in processes:
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join(5)
