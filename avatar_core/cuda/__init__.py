"""Kernels. One op is one header with the arithmetic, a shell for the CPU and one for CUDA, and a Python file with the
PyTorch reference, the shape checks and the gradient."""

from __future__ import annotations

from .loader import BackendInfo, backend

__all__ = ["BackendInfo", "backend"]
