"""What an artist notices when the worker fails: a sentence, soon, and a worker that works again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from avatar_core.worker.client import Reply, Worker, WorkerError, python_command

from .conftest import CAMERA, FAKE, wait_until

ROOT = Path(__file__).resolve().parents[2]


def worker_pid(worker: Worker) -> int:
    assert worker._link
    return worker._link._process.pid


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_frame_arrives_cropped_and_is_restored_to_full_size(start, order):
    reply = start().request(order(x=1.0))
    assert reply.header["region"] == [1, 2, 6, 3] and reply.planes["rgba"].shape == (3, 6, 4)
    planes = Worker.full(reply)
    assert {name: plane.shape for name, plane in planes.items()} == {
        "rgba": (9, 16, 4),
        "depth": (9, 16),
        "normal": (9, 16, 3),
        "mask": (9, 16),
    }
    assert planes["depth"][3, 3] == 4.0 and planes["depth"][0, 0] == np.float32(1e10)
    assert planes["mask"].sum() == 18 and planes["rgba"][..., 3].sum() == 18


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"size": [4, 4], "region": [2, 0, 4, 4]},
        {"size": [4, 4], "region": [-1, 0, 4, 4]},
        {"size": [10**6, 10**6], "region": [0, 0, 4, 4]},
        {"size": [4, 4], "region": [0, 0, 3, 4]},
        {"size": "4x4", "region": [0, 0, 4, 4]},
    ],
)
def test_a_frame_that_does_not_fit_is_refused(header):
    with pytest.raises(WorkerError) as caught:
        Worker.full(Reply(header, {"mask": np.zeros((4, 4), np.float32)}))
    assert caught.value.kind == "protocol"


def test_a_crash_in_a_frame_is_tried_again_unseen(start, order):
    worker = start()
    worker.start()
    first = worker_pid(worker)
    assert worker.request(order(crash_once=3)).planes["mask"].any()
    assert worker_pid(worker) != first


def test_a_second_crash_is_told_with_exit_code_and_last_words(start, order):
    worker = start()
    with pytest.raises(WorkerError) as caught:
        worker.request(order(say="CUDA error: an illegal memory access", crash=7))
    assert caught.value.kind == "died"
    assert "exit code 7" in caught.value.message and "illegal memory access" in caught.value.message
    assert worker.request(order()).planes["mask"].any(), "the next frame has a new worker"


def test_a_worker_killed_from_outside_never_hangs_the_caller(start, order):
    worker = start()
    worker.start()
    killed: list[int] = []

    def poll() -> bool:
        if len(killed) < 2 and worker_pid(worker) not in killed:
            killed.append(worker_pid(worker))
            os.kill(killed[-1], signal.SIGKILL)
        return False

    began = time.monotonic()
    with pytest.raises(WorkerError) as caught:
        worker.request(order(deaf=60), poll)
    assert caught.value.kind == "died" and "signal 9" in caught.value.message
    assert time.monotonic() - began < 5


def test_a_worker_that_died_between_two_frames_is_replaced(start, order):
    worker = start()
    worker.request(order())
    os.kill(worker_pid(worker), signal.SIGKILL)
    assert worker.request(order()).planes["mask"].any()


@pytest.mark.parametrize("how", ["stopped", "gil"])
def test_a_worker_that_hangs_is_ended_after_the_heartbeat(start, order, how):
    worker = start(heartbeat=0.6)
    worker.start()
    pid = worker_pid(worker)
    if how == "stopped":
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(WorkerError) as caught:
        worker.request(order(hold_the_gil=20) if how == "gil" else order())
    assert caught.value.kind == "timeout" and "no sign of life" in caught.value.message
    assert time.monotonic() - began < 3 and not alive(pid)


def test_a_busy_worker_is_not_taken_for_a_hung_one(start, order):
    assert start(heartbeat=0.4).request(order(deaf=1.2)).planes["mask"].any()


def test_a_request_larger_than_the_pipe_does_not_block_on_a_stopped_worker(start, order):
    worker = start(heartbeat=0.5)
    worker.start()
    os.kill(worker_pid(worker), signal.SIGSTOP)
    with pytest.raises(WorkerError) as caught:
        worker.request({**order(), "padding": "x" * 3_000_000})
    assert caught.value.kind == "timeout"


@pytest.mark.parametrize("orders", [{"tiles": 500}, {"deaf": 1}])
def test_esc_returns_within_half_a_second(start, order, orders):
    worker = start()
    worker.start()
    pid = worker_pid(worker)
    pressed = time.monotonic() + 0.2
    with pytest.raises(WorkerError) as caught:
        worker.request(order(**orders), lambda: time.monotonic() > pressed)
    assert caught.value.kind == "cancelled"
    assert time.monotonic() - pressed < 0.5
    assert worker.request(order()).planes["mask"].any()
    assert worker_pid(worker) == pid, "a worker that obeys is kept"


def test_a_worker_deaf_to_cancel_is_ended_after_the_grace(start, order):
    worker = start(grace=0.3)
    worker.start()
    pid = worker_pid(worker)
    began = time.monotonic()
    while alive(pid) and time.monotonic() - began < 3:  # a viewport that asks anew with every move
        with pytest.raises(WorkerError):
            worker.request(order(deaf=60), lambda: True)
    assert time.monotonic() - began < 1.5
    assert worker.request(order()).planes["mask"].any()


def test_the_late_answer_of_a_cancelled_frame_is_never_taken_for_the_next(start, order):
    worker = start()
    worker.start()
    for trial in range(4):
        pressed = time.monotonic() + 0.04 * trial
        with pytest.raises(WorkerError):
            worker.request(order(x=100.0, deaf=0.2), lambda end=pressed: time.monotonic() > end)
        reply = worker.request(order(x=float(trial)))
        assert Worker.full(reply)["depth"][3, 3] == 3.0 + trial


def test_a_frame_may_be_given_a_time_limit(start, order):
    with pytest.raises(WorkerError) as caught:
        start().request(order(tiles=500), timeout=0.3)
    assert caught.value.kind == "timeout"


def test_progress_rises(start, order):
    values: list[float] = []
    start().request(order(tiles=30), progress=values.append)
    assert len(values) > 2 and values == sorted(values) and values[0] >= 0 and values[-1] <= 1


def test_closing_ends_the_running_frame_the_process_and_the_threads(start, order):
    before = set(threading.enumerate())
    worker = start()
    worker.start()
    pid = worker_pid(worker)
    threading.Timer(0.2, worker.close).start()
    with pytest.raises(WorkerError) as caught:
        worker.request(order(tiles=500))
    assert caught.value.kind == "cancelled"
    assert wait_until(lambda: not alive(pid) and set(threading.enumerate()) <= before, 3)


def test_requests_from_two_threads_wait_for_each_other(start, order):
    worker = start()
    worker.start()
    depths: dict[float, float] = {}

    def render(x: float) -> None:
        depths[x] = Worker.full(worker.request(order(x=x, tiles=10)))["depth"][3, 3]

    threads = [threading.Thread(target=render, args=(float(x),)) for x in range(3)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: worker.waiting > 0, 2)
    for thread in threads:
        thread.join()
    assert depths == {0.0: 3.0, 1.0: 4.0, 2.0: 5.0} and worker.waiting == 0


def test_waiting_for_another_frame_can_be_cancelled(start, order):
    worker = start()
    worker.start()
    busy = threading.Thread(target=worker.request, args=(order(tiles=30),))
    busy.start()
    time.sleep(0.1)
    began = time.monotonic()
    with pytest.raises(WorkerError) as caught:
        worker.request(order(), lambda: True)
    assert caught.value.kind == "cancelled" and time.monotonic() - began < 0.3
    busy.join()


def test_two_blenders_have_a_worker_each(start, order):
    one, two = start(), start()
    one.start(), two.start()
    assert worker_pid(one) != worker_pid(two)
    with pytest.raises(WorkerError):
        one.request(order(crash=1))
    assert two.request(order()).planes["mask"].any()


def test_a_missing_interpreter_is_named_with_the_remedy(start):
    with pytest.raises(WorkerError) as caught:
        start(["/nowhere/bin/python", "-m", "avatar_core.worker"]).start()
    assert caught.value.kind == "missing"
    assert "/nowhere/bin/python does not exist" in caught.value.message and "preferences" in caught.value.message


def test_a_file_that_is_no_program_is_named(start, tmp_path):
    (tmp_path / "python").write_text("text")
    with pytest.raises(WorkerError) as caught:
        start([str(tmp_path / "python")]).start()
    assert caught.value.kind == "missing" and "not a program" in caught.value.message


def test_a_python_without_avatar_core_says_how_to_install_it(start, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    python = str(tmp_path / "bare" / "bin" / "python")
    with pytest.raises(WorkerError) as caught:
        start(python_command(python)).start()
    assert caught.value.kind == "missing"
    assert f"{python} -m pip install avatar-core" in caught.value.message


def test_a_remote_machine_without_the_command_is_told_apart(start):
    with pytest.raises(WorkerError) as caught:
        start(["sh", "-c", "avatar-worker-that-is-not-installed"]).start()
    assert caught.value.kind == "missing" and "not found" in caught.value.message


@pytest.mark.parametrize(
    "greeting, kind, words",
    [
        ("garbage", "protocol", "Welcome to"),
        ("silence", "timeout", "no sign of life for 0.5 s"),
        ("crash", "died", "libcudart.so.12"),
        ("old", "version", "has 0.0.3. Update it with"),
    ],
)
def test_a_worker_that_greets_wrongly_is_explained(start, greeting, kind, words):
    worker = start([*FAKE, "--greet", greeting], hello_timeout=0.5 if greeting == "silence" else 30)
    with pytest.raises(WorkerError) as caught:
        worker.start()
    assert caught.value.kind == kind and words in caught.value.message
    assert not worker.alive


def test_nothing_of_blenders_python_leaks_into_the_worker(start, monkeypatch):
    for name in ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES"):
        monkeypatch.setenv(name, "/opt/blender/python")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    environment = start().start()["environment"]
    assert not [name for name in environment if name.startswith(("PYTHON", "LD_LIBRARY_PATH", "DYLD_"))]
    assert environment["CUDA_VISIBLE_DEVICES"] == "0"


def run_blender(script: str) -> subprocess.CompletedProcess[str]:
    """A process that stands for Blender: SIGPIPE at its default, which ends a process."""
    head = f"""
        import os, signal, sys, threading, time
        sys.path.insert(0, {str(ROOT)!r})
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        from avatar_core.worker.client import Worker, WorkerError
        from avatar_core.worker.link import Link
        command, camera = {FAKE!r}, {CAMERA!r}
    """
    code = textwrap.dedent(head) + textwrap.dedent(script)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)


def test_writing_to_a_dead_worker_does_not_kill_blender():
    result = run_blender("""
        def write() -> None:
            link = Link(command)  # in a thread, which cannot change the process's signals
            os.kill(link._process.pid, signal.SIGKILL)
            link.wait(5)
            for _ in range(3):
                link.send({"type": "ping", "padding": "x" * 100_000})
            link._threads[1].join(5)
            link.close(0)
        thread = threading.Thread(target=write)
        thread.start(); thread.join()
        assert signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL
        Worker(command)
        assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
        print("survived")
    """)
    assert (result.returncode, result.stdout) == (0, "survived\n"), result.stderr


def test_the_worker_ends_within_three_seconds_of_a_killed_blender(order):
    script = f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from avatar_core.worker.client import Worker
        worker = Worker({FAKE!r})
        worker.start()
        print(worker._link._process.pid, flush=True)
        worker.request({order(deaf=60)!r})
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    ) as blender:
        assert blender.stdout
        pid = int(blender.stdout.readline())
        time.sleep(0.3)
        blender.kill()
        began = time.monotonic()
        assert wait_until(lambda: not alive(pid), 3)
        print(f"the worker was gone after {time.monotonic() - began:.2f} s")


def test_a_blender_that_just_ends_takes_its_worker_along():
    result = run_blender("""
        worker = Worker(command)
        worker.start()
        print(worker._link._process.pid)
    """)
    assert result.returncode == 0, result.stderr
    assert wait_until(lambda: not alive(int(result.stdout)), 1)
