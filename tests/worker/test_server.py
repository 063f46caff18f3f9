"""What the worker answers, and that bad requests do no harm to the next."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import random
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avatar_core.frame import Frame
from avatar_core.worker import protocol
from avatar_core.worker.client import Worker, WorkerError
from avatar_core.worker.server import crop

from .conftest import CAMERA, FAKE, wait_until


@pytest.fixture(scope="module")
def shared():
    worker = Worker(FAKE)
    yield worker
    worker.close()


@pytest.fixture
def worker(shared):
    """The worker of this module: each test also shows that the ones before it did no harm."""
    shared.request({"type": "unload"})
    return shared


def refusal(worker, message) -> WorkerError:
    with pytest.raises(WorkerError) as caught:
        worker.request(message)
    return caught.value


def test_hello_tells_what_renders(worker):
    info = worker.start()
    assert info["proto"] == protocol.PROTOCOL and info["core"] and info["device"] == "cpu" and info["python"]


def test_load_tells_the_schema_and_brings_the_preview(worker, order):
    reply = worker.request({**order(), "type": "load"})
    assert reply.header["schema"]["joints"] == ["root"] and reply.header["body"]["vertices"] == 3
    assert reply.planes["preview"].dtype == np.uint8 and reply.planes["preview"].shape == (2, 2, 4)


def test_body_brings_all_that_a_rig_is_built_from(worker, order):
    reply = worker.request({**order(), "type": "body"})
    shapes = {name: (plane.shape, plane.dtype.name) for name, plane in reply.planes.items()}
    assert shapes == {
        "vertices": ((3, 3), "float32"),
        "joint_shapedirs": ((1, 3, 0), "float32"),
        "faces": ((1, 3), "int32"),
        "uv": ((3, 2), "float32"),
        "face_uv": ((1, 3), "int32"),
        "weights": ((3, 1), "float32"),
        "joints": ((1, 3), "float32"),
        "parents": ((1,), "int32"),
        "shapedirs": ((3, 3, 0), "float32"),
        "expressions": ((3, 3, 0), "float32"),
    }
    assert reply.header["joint_names"] == ["root"] and reply.header["expression_names"] == []


def test_proxy_follows_the_controls(worker, order):
    reply = worker.request({**order(x=2.0), "type": "proxy"})
    assert reply.planes["vertices"][0].tolist() == [2, 0, 0] and reply.planes["faces"].dtype == np.int32


def test_prints_of_libraries_and_children_go_to_the_log(start, order):
    worker = start()
    worker.request(order())
    assert wait_until(lambda: worker.log.count(" prints") == 3, 2)
    assert all(line in worker.log for line in ("a library prints", "a C library prints", "a child prints"))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"actor": None}, "names no actor"),
        ({"actor": "fake.actor"}, "must be absolute"),
        ({"actor": "/etc/passwd"}, "does not end in .actor"),
        ({"actor": "/nowhere/anna.actor"}, "/nowhere/anna.actor does not exist"),
        ({"actor": "/nowhere/\0.actor"}, "names no actor"),
        ({"camera": None}, "camera"),
        ({"camera": {**CAMERA, "width": 0}}, "camera size"),
        ({"camera": {**CAMERA, "width": 16384, "height": 16384}}, "too large"),
        ({"controls": {"pose": "x"}}, "pose"),
        ({"controls": {"tail": [1]}}, "tail"),
        ({"type": "dance"}, "unknown request 'dance'"),
    ],
)
def test_bad_input_is_a_sentence_and_the_worker_goes_on(worker, order, change, words):
    error = refusal(worker, {**order(), **change})
    assert error.kind == ("absent" if "exist" in words else "bad_input") and words in error.message
    assert worker.request(order()).planes["mask"].any()


def test_a_number_that_is_none_is_refused_before_it_is_sent(worker, order):
    error = refusal(worker, {**order(), "controls": {"transl": [math.nan, 0, 0]}})
    assert error.kind == "bad_input"
    assert worker.request(order()).planes["mask"].any()


def test_the_actors_own_refusal_arrives_as_it_is(worker, order):
    error = refusal(worker, order(refuse="this actor has no control 'tail'"))
    assert (error.kind, error.message) == ("bad_input", "this actor has no control 'tail'")


def test_a_mistake_of_ours_is_short_and_its_traceback_is_in_the_log(start, order):
    worker = start()
    error = refusal(worker, order(fail="weights"))
    assert error.kind == "internal" and "KeyError: 'weights'" in error.message and "\n" not in error.message
    assert wait_until(lambda: "Traceback" in worker.log, 2) and worker.alive


def test_a_frame_that_fits_at_the_second_try_is_rendered(worker, order):
    assert worker.request(order(oom=1)).planes["mask"].any()


def test_too_little_memory_is_told_apart_and_the_worker_goes_on(worker, order):
    error = refusal(worker, order(oom=9))
    assert error.kind == "oom" and "too little memory" in error.message and "1 GB" in error.message
    assert worker.request(order()).planes["mask"].any()


def test_an_actor_that_is_not_here_is_received_once(start, order, tmp_path):
    data, command = Path(order()["actor"]).read_bytes() * 50, ["env", f"XDG_CACHE_HOME={tmp_path}", *FAKE]
    message = {"type": "receive", "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}

    def give(worker, first, last, **change):
        part = {"offset": first, "data": base64.b64encode(data[first:last]).decode()}
        return worker.request({**message, **part, **change}).header

    worker, middle = start(command), len(data) // 2
    assert give(worker, 0, 0)["received"] == 0
    assert give(worker, 0, middle)["received"] == middle
    assert give(worker, 0, middle)["received"] == middle, "a part that comes twice counts once"
    again = start(command)  # as after a crash
    assert give(again, middle, len(data))["received"] == 0, "the sender begins anew"
    give(again, 0, middle)
    path = Path(give(again, middle, len(data))["path"])
    assert path.is_relative_to(tmp_path) and path.read_bytes() == data
    assert give(worker, 0, 0)["path"] == str(path)
    other = {**message, "sha256": "0" * 64, "size": 1, "offset": 0}
    assert "other bytes" in refusal(worker, {**other, "data": "AAAA"}).message
    motion = Path(give(worker, 0, len(data), suffix=".npz")["path"])
    assert motion.name == f"{message['sha256']}.npz" and motion.read_bytes() == data
    for change in ({"suffix": ".sh"}, {"suffix": "/../x.npz"}, {"suffix": ".npz", "size": 1 << 29}, {"suffix": []}):
        assert refusal(worker, {**other, **change}).kind == "bad_input"
    for change in ({"sha256": "../../x"}, {"size": 1 << 40}, {"size": 0}, {"offset": None}, {"data": "?"}):
        assert refusal(worker, {**other, **change}).kind == "bad_input"


def loaded(worker, message) -> int:
    return worker.request({**message, "type": "load"}).header["metadata"]["loaded"]


def test_actors_stay_loaded_until_they_change_or_others_need_the_room(worker, order):
    one, two, three = order(), order(), order()
    first = loaded(worker, one)
    assert loaded(worker, two) and loaded(worker, one) == first, "two fit into the cache of two"
    loaded(worker, three)
    assert loaded(worker, one) == first, "the one used last stayed"
    Path(one["actor"]).write_text(json.dumps({"say": "edited"}))
    os.utime(one["actor"], ns=(1, 1))
    assert worker.request({**one, "type": "load"}).header["metadata"]["orders"] == {"say": "edited"}
    again = loaded(worker, one)
    worker.request({"type": "unload"})
    assert loaded(worker, one) > again


def test_an_idle_worker_gives_the_memory_back(start, order):
    worker = start()
    message = order()
    first = loaded(worker, message)
    assert wait_until(lambda: "all actors are unloaded" in worker.log, 3)
    assert loaded(worker, message) > first


def test_only_what_somebody_covers_is_sent():
    frame = Frame.empty(20, 10)
    assert crop(frame)[0] == [0, 0, 0, 0] and crop(frame)[1]["rgba"].shape == (0, 0, 4)
    frame.mask[4, 19] = 0.001
    frame.rgba[9, 3, 3] = 1
    region, planes = crop(frame)
    assert region == [3, 4, 17, 6] and planes["normal"].shape == (6, 17, 3) and "limb" not in planes
    limb = np.full((10, 20), -1, np.int32)
    limb[9, 3] = 0
    numbers = crop(replace(frame, limb=limb))[1]["limb"]  # counted from 1, 0 where none is
    assert numbers.dtype == np.float32 and numbers[5, 0] == 1 and numbers.sum() == 1


def raw(data: bytes) -> tuple[int, bytes, str]:
    """What the process answers to bytes from anybody: exit code, output, log."""
    result = subprocess.run(FAKE, input=data, capture_output=True, timeout=20)
    return result.returncode, result.stdout, result.stderr.decode()


def test_a_client_of_another_protocol_gets_a_plain_sentence():
    hello = {"type": "hello", "id": 1, "proto": 99, "oldest": 98}
    with subprocess.Popen(FAKE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin and process.stdout
        protocol.write_all(process.stdin.write, protocol.encode(hello))
        header = protocol.read_message(process.stdout.readinto).header  # type: ignore[attr-defined]
        process.stdin.close()
        assert process.wait(5) == 0
    assert header["id"] == 1 and header["error"]["type"] == "version"
    assert "98 to 99" in header["error"]["message"] and "update the older" in header["error"]["message"]


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_end_the_worker_in_order(seed):
    dice = random.Random(seed)
    hello = b"".join(protocol.encode({"type": "ping"}))
    data = [dice.randbytes(5000), hello + protocol.MAGIC + b"\xff" * 500][seed % 2]
    code, output, log = raw(data)
    assert code == 1 and "broke the protocol" in log and "Traceback" not in log
    assert len(output) < 200
