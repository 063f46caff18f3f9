# SPDX-License-Identifier: GPL-3.0-or-later
"""A view rendered coarse to fine in a thread: the newest wish counts, and nobody waits for it. No bpy here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .client import WorkerError
from .errors import SceneError
from .layers import Picture

if TYPE_CHECKING:
    from .shot import Job

FIRST_SECONDS = 0.1  # what the first, coarse picture may take
_SHARES = tuple(2 ** (-n / 2) for n in range(6, 1, -1))  # of a side, 1/8 to 1/2: few, allocators keep memory of each
_PAUSE = 0.2  # seconds, before trying again what a final render has pushed aside
_RETRY = 2.0  # seconds, before a view that failed is tried again
_turn = threading.Lock()  # views take turns: only more urgent work pushes one aside


@dataclass(frozen=True)
class View:
    """What a region shows: its pixels, the avatars in them, and the seconds that a picture may take.

    unread: actor files of which nothing is known yet, so that there are no jobs for them.
    """

    width: int
    height: int
    jobs: tuple[Job, ...]
    seconds: float
    unread: tuple[Path, ...] = ()

    def same_camera(self, other: View) -> bool:
        """Whether a picture of `other` lies on this view's pixels, if not on its poses."""
        cameras = [[(job.name, job.camera) for job in view.jobs] for view in (self, other)]
        return (self.width, self.height) == (other.width, other.height) and cameras[0] == cameras[1]


@dataclass(frozen=True)
class Shown:
    """A picture of `view`, with `share` of its pixels along each side."""

    view: View
    share: float
    picture: Picture


Render = Callable[[View, float, str, Callable[[], bool]], Picture]


class Live:
    """render(view, share, quality, stop) makes one picture; contended() tells that more urgent work waits.

    name: of the thread.
    """

    def __init__(self, render: Render, contended: Callable[[], bool], name: str = "live") -> None:
        self.shown: Shown | None = None
        self.error = ""  # why the wanted view cannot be shown
        self.asked = 0.0  # time.monotonic() of the newest wish
        self._render, self._contended = render, contended
        self._wanted: View | None = None
        self._busy = self._closing = False
        self._level, self._first_seconds = len(_SHARES) // 2, FIRST_SECONDS  # of the next first picture; of the last
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        return self._busy

    def ask(self, view: View) -> None:
        """Wishes for `view`; a finer picture of another view is given up, a first picture is not."""
        with self._change:
            again = bool(self.error) and not self._busy and time.monotonic() - self.asked > _RETRY
            if view != self._wanted or again:
                self._wanted, self._busy, self.asked = view, True, time.monotonic()
                self._change.notify_all()

    def wait_for(self, view: View, patience: float) -> None:
        """Waits for the first picture of `view`, so many seconds at most, and only where it is due by then."""
        with self._change:
            if self.asked + self._first_seconds < time.monotonic() + patience:
                self._change.wait_for(lambda: not self._busy or self._shows(view), patience)

    def close(self, wait: bool = True) -> None:
        """Ends the thread; waits for it, two seconds at most."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        if wait:
            self._thread.join(2)

    def _run(self) -> None:
        done: View | None = None
        while True:
            with self._change:
                while self._wanted is done and not self._closing:
                    self._busy = False
                    self._change.notify_all()
                    self._change.wait()
                view = self._wanted
            if view is None or self._closing:
                return
            try:
                finished = self._refine(view)
                self.error = ""
            except (WorkerError, SceneError) as error:
                finished, self.error = True, str(error)
            except Exception as error:  # a thread that dies would leave the viewport without a word
                finished, self.error = True, f"The viewport's avatars failed: {type(error).__name__}: {error}"
            if finished:
                done = view
            elif view is self._wanted:
                time.sleep(_PAUSE)

    def _refine(self, view: View) -> bool:
        """Coarse to fine, as far as the view's seconds go; False where it was interrupted."""
        share, quality = _SHARES[self._level], "draft"
        while True:
            first = quality == "draft"
            stop = partial(self._interrupted, view, first)
            while not _turn.acquire(timeout=_PAUSE):
                if stop():
                    return self._closing
            began = time.monotonic()
            try:
                picture = self._render(view, share, quality, stop)
            except WorkerError as error:
                if error.kind != "cancelled":
                    raise
                return self._closing
            finally:
                seconds = max(time.monotonic() - began, 1e-4)
                _turn.release()
            with self._change:
                self.shown = Shown(view, share, picture)
                self._change.notify_all()
            if first:
                self._learn(seconds)
            if view is not self._wanted or share >= 1:
                return True
            finer = min(share * 2, 1.0)
            if not first and seconds * (finer / share) ** 2 > view.seconds:
                return True
            share, quality = finer, "preview"

    def _learn(self, seconds: float) -> None:
        """Makes first pictures coarser or finer by one share; much of their time does not depend on it."""
        self._first_seconds = seconds
        step = -1 if seconds > FIRST_SECONDS else 1 if seconds < 0.7 * FIRST_SECONDS else 0
        self._level = min(max(self._level + step, 0), len(_SHARES) - 1)

    def _shows(self, view: View) -> bool:
        return self.shown is not None and self.shown.view == view

    def _interrupted(self, view: View, first: bool) -> bool:
        return self._closing or self._contended() or (not first and view is not self._wanted)
