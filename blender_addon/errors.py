# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be wrong with a scene."""

from __future__ import annotations


class SceneError(Exception):
    """A scene that cannot be rendered or set up; the message is one sentence: what, where, what to do."""
