"""`python -m avatar_core.worker`: serves one client over standard input and output, and ends with it."""

from __future__ import annotations

import argparse
import os
import sys

from .actors import ActorCache
from .server import Server, take_stdio


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="avatar-worker", description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default: auto)")
    parser.add_argument("--actors", type=int, default=4, help="how many actors stay loaded (default: 4)")
    parser.add_argument("--idle", type=float, default=300, help="seconds of rest until actors are unloaded")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's idle threads leave the processor to Blender
    readinto, write = take_stdio()
    code = Server(readinto, write, ActorCache(options.actors), options.device, options.idle).serve()
    sys.stderr.flush()
    os._exit(code)  # at once: nobody waits for libraries to tidy up


if __name__ == "__main__":
    main()
