"""Views that are rendered in threads give way to each other and come to rest. No Blender: the threads know none."""

from __future__ import annotations

import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The module, of the extension as it is packaged, without the rest of it."""
    sys.path.insert(0, str(ROOT))
    import build_addon

    package = build_addon.stage(tmp_path / "threads_only")
    parent = types.ModuleType("threads_only")
    parent.__path__ = [str(package)]
    monkeypatch.setitem(sys.modules, "threads_only", parent)
    __import__("threads_only.live")
    yield sys.modules["threads_only.live"]
    for name in [name for name in sys.modules if name.startswith("threads_only")]:
        monkeypatch.delitem(sys.modules, name)


def test_two_views_come_to_rest(live: Any) -> None:
    worker = threading.Lock()
    waiting = [0]

    def render(view: Any, share: float, quality: str, stop: Callable[[], bool]) -> Any:
        waiting[0] += 1
        with worker:
            waiting[0] -= 1
            for _ in range(3 if quality == "draft" else 20):
                time.sleep(0.005)
                if stop():
                    raise live.WorkerError("cancelled", "Cancelled.")
        return (quality, share)

    views = [live.View(640, 480, (), 10.0), live.View(320, 200, (), 10.0)]
    lives = [live.Live(render, lambda: waiting[0] > 0) for _ in views]
    for one, view in zip(lives, views):
        one.ask(view)
    deadline = time.monotonic() + 20
    while any(one.busy for one in lives) and time.monotonic() < deadline:
        time.sleep(0.02)
    shown = [one.shown for one in lives]
    for one in lives:
        one.close()
    assert [(found.view, found.share) for found in shown] == [(view, 1.0) for view in views]


def test_the_newest_wish_counts_and_errors_are_said(live: Any) -> None:
    def render(view: Any, share: float, quality: str, stop: Callable[[], bool]) -> Any:
        if view.width == 13:
            raise live.SceneError("No.")
        time.sleep(0.01)
        return quality

    one = live.Live(render, lambda: False)
    wishes = [live.View(100 + i, 100, (), 10.0) for i in range(20)]
    for wish in wishes:
        one.ask(wish)
    deadline = time.monotonic() + 20
    while (one.busy or one.shown is None) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert one.shown.view == wishes[-1] and one.shown.share == 1
    one.ask(live.View(13, 100, (), 10.0))
    while one.busy and time.monotonic() < deadline:
        time.sleep(0.01)
    one.close()
    assert one.error == "No."


def test_drawing_waits_only_for_a_picture_that_is_about_to_come(live: Any) -> None:
    pace = [0.02]

    def render(view: Any, share: float, quality: str, stop: Callable[[], bool]) -> Any:
        time.sleep(pace[0])
        return quality

    def drawn(number: int, patience: float) -> tuple[bool, float]:
        """Whether the picture is there after waiting, and how long that took."""
        view, began = live.View(100 + number, 100, (), 0.0), time.monotonic()
        one.ask(view)
        one.wait_for(view, patience)
        return one.shown is not None and one.shown.view == view, time.monotonic() - began

    def rest() -> None:
        while one.busy:
            time.sleep(0.01)

    one = live.Live(render, lambda: False)
    drawn(0, 0)
    rest()
    assert drawn(1, 5)[0]  # a fast one: the very first drawing shows it
    rest()
    pace[0] = 1.0
    shown, _ = drawn(2, 0)
    assert not shown
    rest()
    shown, seconds = drawn(3, 0.5)  # known to be slow: nobody waits
    rest()
    one.close()
    assert not shown and seconds < 0.4


@pytest.mark.parametrize(("pace", "better"), [(0.1, max), (1.5, min)])
def test_first_pictures_are_as_fine_as_their_time_allows(live: Any, pace: float, better: Any) -> None:
    drafts: list[float] = []

    def render(view: Any, share: float, quality: str, stop: Callable[[], bool]) -> Any:
        if quality == "draft":
            drafts.append(share)
            time.sleep(live.FIRST_SECONDS * pace)
        return quality

    one = live.Live(render, lambda: False)
    for number in range(6):
        one.ask(live.View(100 + number, 100, (), 0.0))
        while one.busy:
            time.sleep(0.01)
    one.close()
    assert better(drafts) != drafts[0]
