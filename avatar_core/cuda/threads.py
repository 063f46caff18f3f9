"""Work shared over threads without a second OpenMP runtime beside torch's: ctypes releases the interpreter lock."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

_PARTS = 4  # ranges a thread, so that an unlucky one does not hold up the rest


def parallel(function: Any, arguments: Sequence[Any], count: int, least: int = 2048) -> None:
    """Calls function(*arguments, begin, end) for ranges that cover [0, count), each of at least `least`; the calling
    thread is one of those that work."""
    parts = max(1, min(count // least, thread_count() * _PARTS))
    remaining = iter(range(parts))  # shared: the interpreter lock hands each part to one thread

    def work() -> None:
        for part in remaining:
            begin, end = count * part // parts, count * (part + 1) // parts
            function(*arguments, ctypes.c_longlong(begin), ctypes.c_longlong(end))

    others = [_pool().submit(work) for _ in range(min(parts, thread_count()) - 1)]
    work()
    for other in others:
        if not other.cancel():  # one that has not begun has nothing left to do
            other.result()


@cache
def thread_count() -> int:
    """AVATAR_THREADS, else the processors that this process may use."""
    wanted = os.environ.get("AVATAR_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, thread_count() - 1), thread_name_prefix="avatar-kernel")
