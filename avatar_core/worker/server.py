"""The worker's side: loads actors, renders, and leaves when Blender does.

One thread reads messages: it answers pings and takes cancels while the main thread works through the requests
in order. Standard output carries the protocol; whatever libraries print goes to standard error.
"""

from __future__ import annotations

import base64
import contextlib
import faulthandler
import os
import platform
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from blend_templates.motions import load_motion

from .. import __version__
from ..camera import Camera
from ..controls import Controls
from ..cuda.threads import thread_count
from ..data.easymocap import UPS
from ..errors import AvatarError
from ..frame import Frame
from ..motion_files import frame_rate, read_motion
from . import device, protocol
from .actors import SHIPPED, ActorCache, RequestError
from .receiver import Receiver

GRACE_SECONDS = 2.0  # for work in hand after the client is gone
MAX_REQUEST_PAYLOAD = 0  # requests carry no planes
MOST_DETAIL = 8  # of a mesh
BYTES_PER_PIXEL = 40  # rgba, depth, normal, mask, limb
PICTURE_SIDE = 256  # pixels of a picture that a person's appearance is read from
PROGRESS_SECONDS = 0.1  # between two progress messages

Answer = tuple[dict[str, Any], dict[str, np.ndarray]]  # the header and the planes of a reply


@dataclass
class Job:
    """One request in hand."""

    message: protocol.Message
    cancelled: bool = False
    reported: float = 0.0  # time.monotonic() of the last progress message

    @property
    def number(self) -> int:
        return self.message.header["id"]

    def get(self, name: str) -> Any:
        return self.message.header.get(name)


class Server:
    """Serves one client until its stream ends."""

    def __init__(
        self,
        readinto: protocol.ReadInto,
        write: protocol.Write,
        actors: ActorCache,
        device_name: str = "auto",
        idle: float = 300.0,
    ) -> None:
        self._readinto = readinto
        self._write = write
        self._actors = actors
        self._device = device_name
        self._idle = idle
        self._code = 0
        self._receiver = Receiver()
        self._sending = threading.Lock()
        self._jobs: dict[int, Job] = {}  # queued and in hand
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._handlers: dict[str, Callable[[Job], Answer]] = {
            "hello": self.hello,
            "load": self.load,
            "body": self.body,
            "render": self.render,
            "proxy": self.proxy,
            "motion": self.motion,
            "appearance": self.appearance,
            "rigged": self.rigged,
            "receive": self.receive,
            "unload": self.unload,
        }

    def serve(self) -> int:
        """Work until the client is gone; returns the exit code, 1 where the client broke the protocol."""
        reader = threading.Thread(target=self._read, name="reader", daemon=True)
        reader.start()
        while True:
            try:
                job = self._queue.get(timeout=self._idle if len(self._actors) else None)
            except Empty:
                self._forget(None)
                print(f"no work for {self._idle:g} s: all actors are unloaded", file=sys.stderr, flush=True)
                continue
            if job is None:
                return self._code
            self._work(job)

    # -- the requests

    def hello(self, job: Job) -> Answer:
        """Versions and device. Raises RequestError('version') where the two share no protocol."""
        version = protocol.negotiate(job.get("proto"), job.get("oldest"))
        if version is None:
            raise RequestError(
                f"the add-on speaks protocol {job.get('oldest')} to {job.get('proto')},"
                f" avatar-core {__version__} speaks {protocol.OLDEST_PROTOCOL} to {protocol.PROTOCOL};"
                " update the older of the two",
                "version",
            )
        versions = {"proto": version, "core": __version__, "python": platform.python_version()}
        return {**versions, "actors": str(SHIPPED), **self.describe()}, {}

    def describe(self) -> dict[str, Any]:
        """What renders here, see `device.describe`."""
        self._device = device.choose(self._device)
        return device.describe(self._device)

    def load(self, job: Job) -> Answer:
        """What the actor is and takes; plane `preview` [H, W, 4] (sRGB, straight alpha) where it has one."""
        actor = self._actor(job)
        body = actor.body
        summary = {
            "name": body.name,
            "vertices": len(body.vertices),
            "faces": len(body.faces),
            "joint_names": list(body.joint_names),
            "expression_names": list(body.expression_names),
            "topology_hash": body.topology_hash,
        }
        planes = {} if actor.preview is None else {"preview": np.ascontiguousarray(actor.preview, np.uint8)}
        facts = {"schema": actor.schema.to_dict(), "metadata": actor.metadata, "limbs": list(actor.limbs)}
        return {**facts, "body": summary}, planes

    def body(self, job: Job) -> Answer:
        """The arrays from which the add-on builds the rig: those of `blend_templates.rig.RigArrays`."""
        body = self._actor(job).body
        floats = ("vertices", "uv", "weights", "shapedirs", "expressions")
        planes = {name: np.ascontiguousarray(getattr(body, name), np.float32) for name in floats}
        wholes = ("faces", "face_uv", "parents")
        planes |= {name: np.ascontiguousarray(getattr(body, name), np.int32) for name in wholes}
        planes["joints"] = np.ascontiguousarray(body.joints(), np.float32)
        planes["joint_shapedirs"] = np.ascontiguousarray(body.joint_shapedirs(), np.float32)
        header = {
            "name": body.name,
            "joint_names": list(body.joint_names),
            "expression_names": list(body.expression_names),
            "topology_hash": body.topology_hash,
        }
        return header, planes

    def render(self, job: Job) -> Answer:
        """The frame, cropped to the pixels that somebody covers."""
        camera = Camera.from_dict(job.get("camera"))
        controls = Controls.from_dict(job.get("controls"))
        quality = str(job.get("quality") or "preview")
        if camera.width * camera.height * BYTES_PER_PIXEL > protocol.MAX_PAYLOAD:
            raise RequestError(f"{camera.width} x {camera.height} is too large to send; render regions of it")
        actor = self._actor(job)
        began = time.perf_counter()
        with _sparing(quality):
            frame = actor.render(
                controls,
                camera,
                quality,
                cancel=lambda: job.cancelled,
                progress=lambda value: self._progress(job, value),
            )
        region, planes = crop(frame)
        size = [camera.width, camera.height]
        return {"size": size, "region": region, "seconds": round(time.perf_counter() - began, 4)}, planes

    def proxy(self, job: Job) -> Answer:
        """The posed stand-in: vertices [V, 3] metres, world (y up), faces [F, 3]."""
        controls = Controls.from_dict(job.get("controls"))
        vertices, faces = self._actor(job).proxy_mesh(controls)
        return {}, {
            "vertices": np.ascontiguousarray(vertices, np.float32),
            "faces": np.ascontiguousarray(faces, np.int32),
        }

    def motion(self, job: Job) -> Answer:
        """A recorded motion for the actor, shaped by `betas`: pose [T, J, 3], transl [T, 3]; `fps` where the file
        tells, else null. Or the `clip` of that name, one of `blend_templates.motions`."""
        body, clip = self._actor(job).body, job.get("clip")
        betas = Controls.from_dict({"betas": job.get("betas") or []}).betas
        if clip is not None:  # its feet are to touch the floor in this shape
            loop = load_motion(str(clip), replace(body, vertices=body.shaped(betas)))
            return {"fps": loop.fps}, {"pose": loop.pose, "transl": loop.transl}
        path, up = Path(str(job.get("path"))), job.get("up")
        if up is not None and up not in UPS:
            raise RequestError(f"'{up}' is no axis that may be up; there are {', '.join(UPS)}")
        if not path.exists():
            raise RequestError(f"{path} does not exist on the machine that renders", "absent_motion")
        frames = read_motion(path, body, up, betas)
        planes = {name: np.stack([getattr(frame, name) for frame in frames]) for name in ("pose", "transl")}
        fps = frame_rate(path)
        return {"fps": fps}, {name: np.ascontiguousarray(plane, np.float32) for name, plane in planes.items()}

    def appearance(self, job: Job) -> Answer:
        """The vector of the person in a picture: 256 x 256 pixels of display colours, 3 bytes each, in base 64."""
        return {"appearance": self._actor(job).read_appearance(read_picture(job.get("picture"))).tolist()}, {}

    def rigged(self, job: Job) -> Answer:
        """The person of some controls as a mesh for bones: the arrays of `avatar_core.rigged_mesh.RiggedMesh`."""
        detail = job.get("detail")
        if not isinstance(detail, int) or not 1 <= detail <= MOST_DETAIL:
            raise RequestError(f"'detail' must be 1 to {MOST_DETAIL}, got {detail!r}")
        actor = self._actor(job)
        mesh = actor.rigged(Controls.from_dict(job.get("controls")), detail)
        planes = {name: np.ascontiguousarray(value) for name, value in vars(mesh).items()}
        return {"joint_names": list(actor.body.joint_names), "parents": actor.body.parents.tolist()}, planes

    def receive(self, job: Job) -> Answer:
        """A part of a file, see `Receiver`."""
        return self._receiver.take(job.message.header), {}

    def unload(self, job: Job) -> Answer:
        self._forget(None)
        return {"vram": device.vram(self._device)}, {}

    # -- how they are worked through

    def _work(self, job: Job) -> None:
        number = job.number
        try:
            handler = self._handlers.get(job.message.header["type"])
            if handler is None:
                known = ", ".join(self._handlers)
                raise RequestError(f"unknown request '{job.message.header['type']}'; known are {known}")
            if job.cancelled:
                self._refuse(number, "cancelled", "cancelled before it began")
                return
            header, planes = self._with_room(handler, job)
            self._send({**header, "type": "reply", "id": number}, planes)
        except Exception as error:
            if job.cancelled:  # whatever the method raised in order to stop
                self._refuse(number, "cancelled", "cancelled")
            elif isinstance(error, AvatarError):
                self._refuse(number, getattr(error, "kind", "bad_input"), str(error))
            else:
                traceback.print_exc()
                reason = f"{type(error).__name__}: {str(error)[:300]}"
                self._refuse(number, "internal", f"the worker failed: {reason}")
        finally:
            self._jobs.pop(number, None)

    def _with_room(self, handler: Callable[[Job], Answer], job: Job) -> Answer:
        """Runs the handler; where memory does not suffice, once more with all other actors forgotten."""
        try:
            return handler(job)
        except Exception as error:
            if not device.out_of_memory(error):
                raise
            print(f"out of memory, trying again with one actor: {error}", file=sys.stderr, flush=True)
        self._forget(job.get("actor"))
        try:
            return handler(job)
        except Exception as error:
            if not device.out_of_memory(error):
                raise
            reason = str(error).split("\n")[0][:300]
        self._forget(None)
        room = device.room(self._device)
        raise RequestError(f"{room}; choose a lower quality or a smaller picture ({reason})", "oom")

    def _actor(self, job: Job) -> Any:
        return self._actors.get(job.get("actor"), self._device)

    def _forget(self, keep: object) -> None:
        self._actors.keep_only(keep)
        device.release()

    def _progress(self, job: Job, value: float) -> None:
        now = time.monotonic()
        if now - job.reported >= PROGRESS_SECONDS:
            job.reported = now
            self._send({"type": "progress", "id": job.number, "value": float(value)})

    def _refuse(self, number: int, kind: str, message: str) -> None:
        self._send({"type": "error", "id": number, "error": {"type": kind, "message": message}})

    def _send(self, header: dict[str, Any], planes: dict[str, np.ndarray] | None = None) -> None:
        buffers = protocol.encode(header, planes)
        with self._sending, contextlib.suppress(OSError):  # the reader sees that the client is gone
            protocol.write_all(self._write, buffers)

    def _read(self) -> None:
        try:
            while True:
                message = protocol.read_message(self._readinto, MAX_REQUEST_PAYLOAD)
                kind, number = message.header["type"], message.header.get("id")
                if kind == "ping":
                    self._send({"type": "pong"})
                elif kind == "cancel":
                    job = self._jobs.get(number) if number else None
                    if job:
                        job.cancelled = True
                elif number is None or number in self._jobs:
                    raise protocol.ProtocolError(f"a '{kind}' request has no id of its own")
                else:
                    job = self._jobs[number] = Job(message)
                    self._queue.put(job)
        except (EOFError, OSError):
            pass
        except protocol.ProtocolError as error:
            print(f"the client broke the protocol: {error}", file=sys.stderr, flush=True)
            self._code = 1
        for job in list(self._jobs.values()):
            job.cancelled = True
        self._queue.put(None)
        faulthandler.dump_traceback_later(GRACE_SECONDS, exit=True)  # a thread without the GIL: ends any work


def read_picture(encoded: object) -> np.ndarray:
    """[256, 256, 3] uint8. Raises RequestError."""
    try:
        pixels = np.frombuffer(base64.b64decode(str(encoded), validate=True), np.uint8)
        return pixels.reshape(PICTURE_SIDE, PICTURE_SIDE, 3)
    except ValueError as error:
        raise RequestError(f"a picture is {PICTURE_SIDE} x {PICTURE_SIDE} pixels of 3 bytes, in base 64") from error


def _sparing(quality: str) -> contextlib.AbstractContextManager[None]:
    """While coarse pictures are made, an interface draws: half of the processors are left to it."""
    if quality != "draft":
        return contextlib.nullcontext()
    from ..nn.threads import torch_threads  # brings torch, which an actor has loaded by then

    return torch_threads(max(1, thread_count() // 2))


def crop(frame: Frame) -> tuple[list[int], dict[str, np.ndarray]]:
    """The region [x, y, width, height] that somebody covers (zeros where nobody does), and its planes."""
    covered = (frame.mask > 0) | (frame.rgba[..., 3] > 0)
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    x0, x1 = (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, 0)
    y0, y1 = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
    planes = {
        name: np.ascontiguousarray(getattr(frame, name)[y0:y1, x0:x1], np.float32)
        for name in ("rgba", "depth", "normal", "mask")
    }
    if frame.limb is not None:
        planes["limb"] = np.ascontiguousarray(frame.limb[y0:y1, x0:x1] + 1, np.float32)  # 0: none, as outside
    return [x0, y0, x1 - x0, y1 - y0], planes


def take_stdio() -> tuple[protocol.ReadInto, protocol.Write]:
    """Keeps both streams for the protocol: later prints go to standard error, later reads find the end."""
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(source, os.O_BINARY)
        msvcrt.setmode(sink, os.O_BINARY)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for Blender
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    reader, writer = os.fdopen(source, "rb", 0), os.fdopen(sink, "wb", 0)
    return reader.readinto, writer.write
