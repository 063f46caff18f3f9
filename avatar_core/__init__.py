"""Neural human avatars: a capture trains an actor; an actor, controls and a camera give a frame.

Importing the package is cheap: torch is loaded when an actor is.
"""

from __future__ import annotations

__version__ = "0.1.0"
