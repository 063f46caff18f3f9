"""The real server process with pretended actors: an .actor file says in JSON what its actor does.

`fake_worker.py [--greet garbage|silence|old|crash]`, started like the real one, with `python -I`.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from avatar_core.controls import ControlSchema
from avatar_core.errors import AvatarError
from avatar_core.frame import Frame
from avatar_core.worker.actors import ActorCache
from avatar_core.worker.server import Server, take_stdio


class FakeActor:
    schema = ControlSchema(joints=("root",))
    preview = np.full((2, 2, 4), 255, np.uint8)

    def __init__(self, path: Path) -> None:
        self.orders = json.loads(path.read_text())
        self.path = path
        self.metadata = {"loaded": time.time_ns(), "orders": self.orders}
        self.limbs = ()
        self.body = SimpleNamespace(
            name="fake",
            vertices=np.zeros((3, 3)),
            faces=np.array([[0, 1, 2]]),
            uv=np.zeros((3, 2)),
            face_uv=np.array([[0, 1, 2]]),
            weights=np.ones((3, 1)),
            shapedirs=np.zeros((3, 3, 0)),
            expressions=np.zeros((3, 3, 0)),
            parents=np.array([-1]),
            joint_names=("root",),
            expression_names=(),
            topology_hash="0" * 64,
            joints=lambda: np.zeros((1, 3)),
            joint_shapedirs=lambda: np.zeros((1, 3, 0)),
        )

    def proxy_mesh(self, controls):
        return self.body.vertices + controls.transl, self.body.faces

    def render(self, controls, camera, quality, cancel, progress):
        print("a library prints")
        os.write(1, b"a C library prints\n")
        os.system("echo a child prints")
        for name, value in self.orders.items():
            getattr(self, "do_" + name)(value, cancel, progress)
        frame = Frame.empty(camera.width, camera.height)
        rows, columns = slice(2, 5), slice(1, 7)
        frame.rgba[rows, columns] = [0.1, 0.2, 0.3, 1.0]
        frame.depth[rows, columns] = 3.0 + float(controls.transl[0])
        frame.normal[rows, columns] = [0, 0, 1]
        frame.mask[rows, columns] = 1
        return frame

    def do_say(self, text, cancel, progress):
        print(text, file=sys.stderr, flush=True)

    def do_crash(self, code, cancel, progress):
        os._exit(code)

    def do_crash_once(self, code, cancel, progress):
        marker = self.path.with_suffix(".crashed")
        if not marker.exists():
            marker.touch()
            os._exit(code)

    def do_tiles(self, count, cancel, progress):
        """Renders `count` tiles of 20 ms, obedient to cancel."""
        for tile in range(count):
            if cancel():
                raise RuntimeError("stopped")
            progress(tile / count)
            time.sleep(0.02)

    def do_deaf(self, seconds, cancel, progress):
        """Is busy and never looks at cancel."""
        time.sleep(seconds)

    def do_hold_the_gil(self, seconds, cancel, progress):
        ctypes.PyDLL(None).sleep(int(seconds))

    def do_refuse(self, sentence, cancel, progress):
        raise AvatarError(sentence)

    def do_fail(self, sentence, cancel, progress):
        raise KeyError(sentence)

    def do_oom(self, times, cancel, progress):
        self.orders["oom"] = times - 1
        if times > 0:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 1 GB")


class FakeServer(Server):
    def describe(self):
        return {
            "torch": "none",
            "device": "cpu",
            "backend": "fake",
            "vram": None,
            "environment": dict(os.environ),
        }


class OldServer(FakeServer):
    def hello(self, job):
        header, planes = super().hello(job)
        return {**header, "core": "0.0.3"}, planes


def main() -> None:
    greet = sys.argv[2] if len(sys.argv) > 2 else ""
    if greet == "garbage":
        print("Welcome to host42, have a nice day", flush=True)
    if greet == "silence":
        time.sleep(60)
    if greet == "crash":
        sys.exit("ImportError: libcudart.so.12: cannot open shared object file")
    server = OldServer if greet == "old" else FakeServer
    readinto, write = take_stdio()
    code = server(readinto, write, ActorCache(2, lambda path, device: FakeActor(path)), idle=0.6).serve()
    os._exit(code)


if __name__ == "__main__":
    main()
