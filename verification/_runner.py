"""Run claims on any executor, keeping each outcome as it comes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context

from verification import claims as known
from verification._record import Conditions, Record
from verification.claims import Claim, Outcome

__all__ = ["EXECUTORS", "measure", "open_executor", "run_claims"]

EXECUTORS = ("spawn", "threads", "loky", "dask")
# torch has one generator for a process, which threads would take numbers from in any order.
_TORCH = threading.Lock()


def measure(name: str, conditions: Conditions) -> Outcome:
    """Measure the claim of this name, in a worker; nothing but names and numbers is sent."""
    claim = next(claim for claim in known.CLAIMS if claim.name == name)
    options = {
        "planted_fault": conditions.planted_faults,
        "seed": conditions.seed,
        "full": conditions.full,
    }
    torch = getattr(claim.measure, "__globals__", {}).get("torch")
    if torch is None:
        return claim.run(**options)
    with _TORCH:
        torch.set_num_threads(1)  # sums do not depend on the machine's cores
        torch.manual_seed(conditions.seed)
        return claim.run(**options)


def run_claims(
    claims: Sequence[Claim],
    conditions: Conditions,
    record: Record,
    executor: Executor | None = None,
    *,
    seen: Callable[[Claim, Outcome], None] = lambda claim, outcome: None,
) -> None:
    """Measure the claims that the record does not hold yet.

    Parameters
    ----------
    claims : sequence of Claim
        Each in `verification.claims.CLAIMS`, where workers look them up.
    conditions : Conditions
    record : Record
    executor : concurrent.futures.Executor, optional
        Threads, processes, loky's, dask's. Without one the claims run here, one after another.
        The outcomes are the same.
    seen : callable, optional
        Called with a claim and its outcome as they come.

    Notes
    -----
    On KeyboardInterrupt claims that wait are dropped, those that run are finished and kept.
    """

    def finish(claim: Claim, outcome: Outcome) -> None:
        record.keep(claim.name, outcome)
        seen(claim, outcome)

    held = record.outcomes()
    waiting = [claim for claim in claims if claim.name not in held]
    if executor is None:
        for claim in waiting:
            finish(claim, measure(claim.name, conditions))
        return
    tasks = {executor.submit(measure, claim.name, conditions): claim for claim in waiting}
    suspects = []
    try:
        for task in as_completed(tasks):
            if isinstance(task.exception(), BrokenExecutor):  # a worker died: whose fault?
                suspects.append(tasks[task])
            else:
                finish(tasks[task], _outcome(task))
    except KeyboardInterrupt:
        held = record.outcomes()
        for task in tasks:
            task.cancel()
        for task in as_completed(task for task in tasks if not task.cancelled()):
            if tasks[task].name not in held and task.exception() is None:
                finish(tasks[task], task.result())
        raise
    for claim in suspects:
        with _processes(1) as alone:
            finish(claim, _outcome(alone.submit(measure, claim.name, conditions)))


def _outcome(task: Future[Outcome]) -> Outcome:
    """What a task brought; of a worker that died, or could not even start, a failure."""
    error = task.exception()
    if error is None:
        return task.result()
    text = f"{type(error).__name__}: {error}"
    return Outcome(False, text, 0.0, crash=text)


@contextmanager
def _processes(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Spawned workers: a fork after torch has started threads can hang.

    Ctrl-C in their first import would break the pool, and one with cancelled tasks does not end.
    """
    spawned = get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawned, initializer=_undisturbed) as processes:
        with _deaf():
            for _ in range(jobs):  # each task starts one
                processes.submit(_undisturbed)
        yield processes


def _undisturbed() -> None:
    """Leave Ctrl-C to the parent, which waits for what runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _deaf() -> Iterator[None]:
    """Ignore Ctrl-C, as processes that are started meanwhile do from their start on."""
    if threading.current_thread() is not threading.main_thread():  # who alone may
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def open_executor(kind: str, jobs: int) -> Iterator[Executor | None]:
    """Open an executor of `EXECUTORS` with so many workers; none for one spawned worker."""
    if kind == "threads":
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(jobs) as threads:
            yield threads
    elif kind == "loky":
        from loky import ProcessPoolExecutor as Loky

        with Loky(jobs, initializer=_undisturbed) as loky:
            yield loky
    elif kind == "dask":
        from distributed import Client, LocalCluster

        with (
            LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            yield client.get_executor()
    elif jobs == 1:
        yield None
    else:
        with _processes(jobs) as processes:
            yield processes
