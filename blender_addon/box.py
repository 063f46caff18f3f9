# SPDX-License-Identifier: GPL-3.0-or-later
"""The box of the frame that avatars cover. numpy only.

All that is done for avatars in a frame needs to be done there only: passes are handed to Blender in it, and the merge
looks at nothing else. The compositor learns of it from the pass Box, whose lowest row begins with x, y, width and
height of the box, in pixels from the lower left; the rest of it is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PASS = "Box"
_MARGIN = 16  # pixels around avatars that their merge may look at


@dataclass(frozen=True)
class Box:
    """Columns from the left and rows from the top, the ends excluded."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def of(self, plane: np.ndarray) -> np.ndarray:
        """The part of a plane [H, W, ...]."""
        return plane[self.top : self.bottom, self.left : self.right]

    def plane(self, part: Box, height: int) -> np.ndarray:
        """The pass in a part of a frame of this height, [H, W]."""
        plane = np.zeros((part.height, part.width), np.float32)
        if part.left == 0 and part.bottom == height:
            numbers = (self.left, height - self.bottom, self.width, self.height)
            plane[-1, :4] = numbers[: part.width]
        return plane


def box_of(covered: np.ndarray) -> Box:
    """What is not 0 in [H, W], and a margin; some corner where all is 0."""
    top, bottom = _extent(covered.any(1))
    left, right = _extent(covered.any(0))
    return Box(left, top, right, bottom)


def _extent(covered: np.ndarray) -> tuple[int, int]:
    """First and end of what is True, with the margin. An even number is left: Blender places the middle of a picture
    that was cut by pixels from the middle of the frame, and halves of them would blur it."""
    found = np.flatnonzero(covered)
    first, end = (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 1)
    first, end = max(first - _MARGIN, 0), min(end + _MARGIN, len(covered))
    if (len(covered) - (end - first)) % 2:
        return (first, end + 1) if end < len(covered) else (first - 1, end)
    return first, end
