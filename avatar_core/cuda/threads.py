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
    """Calls function(*arguments, begin, end) for ranges that cover [0, count), each of at least `least`."""
    parts = max(1, min(count // least, thread_count() * _PARTS))
    edges = [count * part // parts for part in range(parts + 1)]

    def work(part: int) -> None:
        function(*arguments, ctypes.c_longlong(edges[part]), ctypes.c_longlong(edges[part + 1]))

    if parts == 1:
        work(0)
    else:
        list(_pool().map(work, range(parts)))


@cache
def thread_count() -> int:
    """AVATAR_THREADS, else the processors that this process may use."""
    wanted = os.environ.get("AVATAR_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_count(), thread_name_prefix="avatar-kernel")
