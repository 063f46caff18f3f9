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


def test_actors_of_another_machine(studio: blenders.Studio, ssh: list[str], tmp_path: Path) -> None:
    """The shot names an actor by its place here; only there, in another folder, the file exists."""
    if not studio.blender.module:
        pytest.skip("that Blender lives in a system of its own, without ssh")
    there = tmp_path / "mounted there"
    there.mkdir()
    shutil.copy(studio.actor, there / "anna.actor")
    code = f"import sys; sys.path.insert(0, {str(blenders.ROOT)!r}); from avatar_core.cli import main; main(['worker'])"
    remote = shlex.quote(shlex.join([sys.executable, "-I", "-c", code]))
    environment = {"AVATAR_FOLDERS": f"/nowhere=/elsewhere;/shows/one={there}"}
    done = studio.script(
        "remote", "/shows/one/anna.actor", json.dumps(environment), worker=f"{shlex.join(ssh)} {remote}"
    )
    assert "REMOTE ok" in done.stdout, done.stdout + done.stderr


def test_a_folder_that_the_machine_does_not_know(studio: blenders.Studio) -> None:
    """A worker whose machine has the file elsewhere, and nobody said where."""
    if not studio.blender.module:
        pytest.skip("the module bpy stands for all")
    environment = {"AVATAR_FOLDERS": f"{studio.actor.parent}=/elsewhere"}
    done = studio.script("remote", str(studio.actor), json.dumps(environment))
    assert "/elsewhere/tiny.actor does not exist on the machine" in done.stdout, done.stdout + done.stderr
    assert "preferences, Folders" in done.stdout


def test_a_host_that_refuses(studio: blenders.Studio, ssh: list[str]) -> None:
    if not studio.blender.module:
        pytest.skip("that Blender lives in a system of its own, without ssh")
    stranger = [part.replace(getpass.getuser(), "nobody-here") for part in ssh]
    stranger.remove("-q")
    done = studio.script("remote", "/shows/one/anna.actor", "{}", worker=f"{shlex.join(stranger)} avatar worker")
    assert "Permission denied" in done.stdout, done.stdout + done.stderr
