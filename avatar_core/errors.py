"""The one kind of error that users see."""

from __future__ import annotations


class AvatarError(Exception):
    """Bad input. The message is one sentence: what is wrong, where, and what to do.

    The command line prints it and exits with 2; the worker sends it to Blender as it is.
    """
