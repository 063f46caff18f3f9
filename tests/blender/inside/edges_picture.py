"""Numbers of the picture of edges, edges.npz. Arguments: the actor file and a folder."""

from __future__ import annotations

import os

import edges
import numpy as np


def main(arguments: list[str]) -> int:
    actor, folder = arguments
    made, truth, compared, _ = edges.render(*edges.stage(actor))
    np.savez(os.path.join(folder, "edges.npz"), made=made, truth=truth, compared=compared)
    return 0
