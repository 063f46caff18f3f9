"""Which groups of the base mesh become the body, and which are kept for making clothes."""

from __future__ import annotations

PARTS = ("body", "helper-l-eye", "helper-r-eye", "helper-upper-teeth", "helper-lower-teeth", "helper-tongue")
HELPERS = ("helper-tights", "helper-skirt", "helper-hair")
