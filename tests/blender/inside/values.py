"""Numbers of the shot that both sides know: the scripts inside Blender and the tests outside."""

from __future__ import annotations

SIZE = (96, 64)  # pixels
TURNS = {1: 0.0, 2: 0.4, 3: 0.8}  # radians of the left shoulder about z at each frame
STEPS = {1: 0.0, 2: 0.15, 3: 0.3}  # metres of the carrier along x
SLIDES = {1: 0.0, 2: 0.05, 3: 0.1}  # metres of camera B along x
TILT, JAW = 0.4, 0.75  # radians that a head is turned about its upright axis, and its jaw's shape key
