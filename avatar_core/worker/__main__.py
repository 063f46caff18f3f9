"""`python -m avatar_core.worker`, `avatar worker`: serves one client over standard input and output; ends with it."""

from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn

# Threads without work leave the processor to Blender, and to each other, soon. Libraries read these as they are loaded:
# torch's OpenMP (GNU's waits 20,000 turns: a frame is then a tenth faster than without any, and a quarter faster than
# with its own 300,000), and NumPy's OpenBLAS, which would wait 2^26 cycles.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "16")

from .actors import ActorCache
from .server import Server, take_stdio


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="avatar-worker", description=__doc__)
    add_arguments(parser)
    run(parser.parse_args(arguments))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default: auto)")
    parser.add_argument("--actors", type=int, default=4, help="how many actors stay loaded (default: 4)")
    parser.add_argument("--idle", type=float, default=300, help="seconds of rest until actors are unloaded")


def run(options: argparse.Namespace) -> NoReturn:
    """Serves until the client is gone, and ends the process."""
    readinto, write = take_stdio()
    code = Server(readinto, write, ActorCache(options.actors), options.device, options.idle).serve()
    sys.stderr.flush()
    os._exit(code)  # at once: nobody waits for libraries to tidy up


if __name__ == "__main__":
    main()
