"""A renderer on another machine: the real ssh, to a server of its own on this machine's loopback."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import blenders
import pytest

from avatar_core.cuda.cache import folder as kernel_folder

PATIENCE = 10  # seconds for a server to listen


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What logs in on a new server, with a key of its own."""
    server = shutil.which("sshd", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if server is None or shutil.which("ssh") is None:
        pytest.skip("install openssh-server and openssh-client")
    folder = tmp_path_factory.mktemp("ssh")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PermitRootLogin": "prohibit-password",
    }
    (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # asked for by a server of root's
    log = (folder / "log").open("w")
    process = subprocess.Popen([server, "-D", "-e", "-f", str(folder / "config")], stderr=log)
    deadline = time.monotonic() + PATIENCE
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.05)
    known = ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder / 'known'}", "-o", "BatchMode=yes"]
    yield ["ssh", "-q", "-i", str(folder / "user"), "-p", str(port), *known, f"{getpass.getuser()}@127.0.0.1"]
    process.terminate()
    process.wait()
    log.close()


def own_cache(folder: Path) -> Path:
    """The cache folder of a machine that was sent nothing yet; its kernels are compiled."""
    made = folder / "cache there" / "avatar_core"
    made.mkdir(parents=True)
    for kernels in kernel_folder().glob("kernels-*"):
        (made / kernels.name).symlink_to(kernels)
    return made.parent


def behind(ssh: list[str], cache: Path) -> str:
    """The command of a worker there."""
    code = f"import sys; sys.path.insert(0, {str(blenders.ROOT)!r}); from avatar_core.cli import main; main(['worker'])"
    command = ["env", f"XDG_CACHE_HOME={cache}", sys.executable, "-I", "-c", code]
    return f"{shlex.join(ssh)} {shlex.quote(shlex.join(command))}"


def kept(cache: Path, kind: str = "actors") -> list[bytes]:
    """The files that a machine was sent."""
    return [path.read_bytes() for path in (cache / "avatar_core" / kind).glob("*")]


def moved_by_a_recording(said: str, folder: Path, cache: Path) -> bool:
    """Whether the recording was sent once, and why a folder of them was not."""
    assert "REMOTE moved" in said and "walk of json is not on the renderer's machine" in said, said
    return kept(cache, "motions") == [(folder / "a walk.npz").read_bytes()]


def test_actors_of_another_machine(studio: blenders.Studio, ssh: list[str], tmp_path: Path) -> None:
    """The shot names an actor by its place here; only there, in another folder, the file exists."""
    if not studio.blender.module:
        pytest.skip("that Blender lives in a system of its own, without ssh")
    there, cache = tmp_path / "mounted there", own_cache(tmp_path)
    there.mkdir()
    shutil.copy(studio.actor, there / "anna.actor")
    environment = json.dumps({"AVATAR_FOLDERS": f"/nowhere=/elsewhere;/shows/one={there}"})
    done = studio.script("remote", "/shows/one/anna.actor", environment, worker=behind(ssh, cache))
    assert "REMOTE ok" in done.stdout, done.stdout + done.stderr
    assert not kept(cache), "nothing had to be sent"


def test_a_packed_actor_is_sent_there_once(studio: blenders.Studio, ssh: list[str], tmp_path: Path) -> None:
    """That machine sees neither the file, with which it is loaded first, nor what is unpacked here."""
    if not studio.blender.module:
        pytest.skip("that Blender lives in a system of its own, without ssh")
    environment, cache = json.dumps({"AVATAR_FOLDERS": f"{studio.folder}=/not/there"}), own_cache(tmp_path)
    done = studio.script("remote", str(studio.actor), environment, "packed", worker=behind(ssh, cache))
    assert "REMOTE ok" in done.stdout, done.stdout + done.stderr
    assert kept(cache) == [studio.actor.read_bytes()]
    assert moved_by_a_recording(done.stdout, studio.folder, cache)


def test_an_actor_that_the_renderer_does_not_see_is_sent(studio: blenders.Studio) -> None:
    """By every Blender, to a worker that knows the folder by another name; one that nobody has is missing."""
    cache = own_cache(studio.folder)
    variables = {"AVATAR_FOLDERS": f"{studio.folder}=/elsewhere", "XDG_CACHE_HOME": str(cache)}
    done = studio.script("remote", str(studio.actor), json.dumps(variables), "packed")
    assert "REMOTE ok" in done.stdout, done.stdout + done.stderr
    assert kept(cache) == [studio.actor.read_bytes()]
    assert moved_by_a_recording(done.stdout, studio.folder, cache)
    done = studio.script("remote", str(studio.actor.with_name("nobody.actor")), json.dumps(variables))
    assert "/elsewhere/nobody.actor does not exist on the machine" in done.stdout, done.stdout + done.stderr
    assert "choose a file that is there" in done.stdout


def test_a_host_that_refuses(studio: blenders.Studio, ssh: list[str]) -> None:
    if not studio.blender.module:
        pytest.skip("that Blender lives in a system of its own, without ssh")
    stranger = [part.replace(getpass.getuser(), "nobody-here") for part in ssh]
    stranger.remove("-q")
    done = studio.script("remote", "/shows/one/anna.actor", "{}", worker=f"{shlex.join(stranger)} avatar worker")
    assert "Permission denied" in done.stdout, done.stdout + done.stderr
