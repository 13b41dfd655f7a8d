"""Work spread over processes, with results in the order of the items whatever their number."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

WAITING_PER_PROCESS = 3  # items handed out ahead: bounds memory, and keeps every process busy


def available_processes() -> int:
    """Return how many cores this process may use: in a container, fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity
        return os.cpu_count() or 1


def in_order(
    work: Callable[[T], R], items: Iterable[T], *, processes: int | None = None
) -> Iterator[R]:
    """Yield work(item) for each item, in the items' order. `work` must be picklable and pure.

    processes: None takes every core this process may use. One process, or one item, is worked on
    here: starting others would take longer than the work.
    """
    num_processes = processes or available_processes()
    iterator = iter(items)
    first = list(islice(iterator, 2))
    if num_processes == 1 or len(first) < 2:
        yield from map(work, chain(first, iterator))
        return
    # Not fork: a thread of a library of ours may hold a lock at that moment.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, mp_context=context) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in chain(first, iterator):
                waiting.append(pool.submit(work, item))
                if len(waiting) >= num_processes * WAITING_PER_PROCESS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def in_chunks(
    items: Iterable[T], *, size_of: Callable[[T], int], max_size: int
) -> Iterator[list[T]]:
    """Group items into lists whose sizes add up to about `max_size`, at least one item each."""
    chunk: list[T] = []
    size = 0
    for item in items:
        chunk.append(item)
        size += size_of(item)
        if size >= max_size:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
