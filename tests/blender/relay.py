"""Stands between Blender and a worker: writes down what is asked, and can die in the middle of a render.

    relay.py LOG FIRST LAST -- command of the worker …

LOG gets one line of JSON for each render request. The requests FIRST to LAST, counted over all restarts from
1, kill relay and worker while they are in work; 0 0 for none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avatar_core.worker import protocol


def main() -> None:
    at = sys.argv.index("--")
    log, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    worker = subprocess.Popen(sys.argv[at + 1 :], stdin=subprocess.PIPE, bufsize=0)
    threading.Thread(target=lambda: os._exit(worker.wait()), daemon=True).start()
    assert worker.stdin is not None
    source = os.fdopen(0, "rb", 0)
    try:
        while True:
            message = protocol.read_message(source.readinto)
            if message.header["type"] == "render":
                with log.open("a") as lines:
                    lines.write(json.dumps(message.header) + "\n")
                if first <= len(log.read_text().splitlines()) <= last:
                    worker.kill()
                    os._exit(9)
            protocol.write_all(worker.stdin.write, protocol.encode(message.header))
    except EOFError:
        worker.stdin.close()
        worker.wait()


main()
