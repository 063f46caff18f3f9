"""Adam (Kingma and Ba 2015) for tables of features, of which a batch touches some rows.

A row is touched when any entry of its gradient is not 0 (NaN touches). For touched rows, at the optimiser's step t,

    m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
    p = p - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps),

which is `torch.optim.Adam` exactly when every step touches every row. Other rows keep values and moments as they are:
no decay of the moments, and no step from momentum; t counts steps of the optimiser, not touches (so does
`torch.optim.SparseAdam`). The gradient of K blended tables is given as factors, never as K tables: see `blend_tables`.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from .arguments import pointer
from .device import launch
from .loader import choose, kernels
from .threads import parallel

_THREADS = 256  # a block on a GPU
Factors = Sequence[tuple[Tensor, Tensor]]


class _AdamStep(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_float) for name in ("beta1", "beta2", "epsilon", "rate", "correction"))


class SparseAdam(torch.optim.Optimizer):
    """Adam that leaves rows without a gradient alone. Parameters: [rows, features] or [K, rows, features], float32.

    A parameter whose gradient is recorded by `blend_tables(tables, coefficients, factors)` is named in `factors`, and
    its list is emptied by each step: `SparseAdam([tables], factors={tables: recorded})`.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        factors: dict[Tensor, list[tuple[Tensor, Tensor]]] | None = None,
    ) -> None:
        if not (lr >= 0 and eps > 0 and all(0 <= beta < 1 for beta in betas)):
            raise ValueError(f"sparse Adam needs lr >= 0, eps > 0 and betas in [0, 1), got {lr}, {eps}, {betas}")
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})
        self.factors = factors or {}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step over all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                recorded = self.factors.get(parameter, [])
                given = list(recorded)
                if parameter.grad is not None:
                    given.append((parameter.new_ones(1), parameter.grad))
                if not given:
                    continue
                if parameter.grad is not None and recorded:
                    raise ValueError("a table has either a gradient or recorded factors of it, not both")
                state = self.state[parameter]
                if not state:
                    state.update(step=0, first=torch.zeros_like(parameter), second=torch.zeros_like(parameter))
                state["step"] += 1
                tables = parameter if recorded else parameter[None]
                first, second = (state[name].view_as(tables) for name in ("first", "second"))
                sparse_adam(tables, first, second, given, state["step"], group["lr"], group["betas"], group["eps"])
                recorded.clear()
        return loss


def sparse_adam(
    tables: Tensor,
    first: Tensor,
    second: Tensor,
    factors: Factors,
    step: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """One step, in place. Table k has the gradient sum over (coefficients, grad) in factors of coefficients[k] grad.

    tables, and its moments first and second: [K, ..., rows, features], contiguous, of one float type; there are kernels
    for float32 with 1, 2, 4 or 8 features. factors: coefficients [K], grad [..., rows, features]. step counts from 1.
    Raises ValueError for other shapes and types.
    """
    _check(tables, first, second, factors)
    coefficients = torch.stack([one for one, _ in factors]).contiguous()  # [B, K]
    grads = torch.stack([grad for _, grad in factors]).contiguous()  # [B, ..., rows, features]
    backend, features = choose(tables, first, second, grads), tables.shape[-1]
    if tables.dtype != torch.float32 or features not in (1, 2, 4, 8):
        backend = "reference"
    if backend == "reference":
        for k in range(len(tables)):
            grad = torch.tensordot(coefficients[:, k], grads, 1)
            sparse_adam_reference(tables[k], first[k], second[k], grad, step, lr, betas, eps)
        return
    entries = grads[0].numel()
    rate, correction = lr / (1 - betas[0] ** step), 1 / math.sqrt(1 - betas[1] ** step)
    sizes = len(grads), len(tables), ctypes.c_longlong(entries), features
    settings = _AdamStep(*betas, eps, rate, correction)
    if backend == "cuda":
        grid = (-(-entries // features // _THREADS), len(tables), 1)
        launch(
            *("sparse_adam", "sparse_adam", grid, (_THREADS, 1, 1)),
            *(settings, coefficients, grads, *sizes, tables, first, second),
        )
    else:
        memory = pointer(tables), pointer(first), pointer(second)
        arguments = settings, pointer(coefficients), pointer(grads), *sizes, *memory
        parallel(kernels().sparse_adam, arguments, entries // features)


def sparse_adam_reference(
    table: Tensor,
    first: Tensor,
    second: Tensor,
    grad: Tensor,
    step: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """The definition for one table, in place, for any float type and device. All tensors: [..., rows, features]."""
    touched = (grad != 0).any(-1, keepdim=True)
    m = betas[0] * first + (1 - betas[0]) * grad
    v = betas[1] * second + (1 - betas[1]) * grad * grad
    change = lr / (1 - betas[0] ** step) * m / ((v / (1 - betas[1] ** step)).sqrt() + eps)
    table.copy_(torch.where(touched, table - change, table))
    first.copy_(torch.where(touched, m, first))
    second.copy_(torch.where(touched, v, second))


def _check(tables: Tensor, first: Tensor, second: Tensor, factors: Factors) -> None:
    same = all(tensor.shape == tables.shape and tensor.dtype == tables.dtype for tensor in (first, second))
    if tables.dim() < 3 or not tables.is_floating_point() or not same:
        raise ValueError(
            "sparse Adam needs tables and moments [K, ..., rows, features] of one float type, got "
            + ", ".join(f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in (tables, first, second))
        )
    if not all(tensor.is_contiguous() for tensor in (tables, first, second)):
        raise ValueError("sparse Adam works in place: tables and moments must be contiguous")
    for coefficients, grad in factors:
        if coefficients.shape != tables.shape[:1] or grad.shape != tables.shape[1:]:
            raise ValueError(
                f"sparse Adam on tables {tuple(tables.shape)} needs coefficients {tuple(tables.shape[:1])} and "
                f"gradients {tuple(tables.shape[1:])}, got {tuple(coefficients.shape)} and {tuple(grad.shape)}"
            )
        if coefficients.dtype != tables.dtype or grad.dtype != tables.dtype or coefficients.device != tables.device:
            raise ValueError(
                f"sparse Adam's gradients must be {tables.dtype} on {tables.device}, "
                f"got {grad.dtype} on {grad.device} and {coefficients.dtype} on {coefficients.device}"
            )
    if not factors:
        raise ValueError("sparse Adam needs a gradient")
