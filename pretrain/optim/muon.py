"""Muon for the matrices of the layers, AdamW for everything else (Jordan et al., 2024,
https://kellerjordan.github.io/posts/muon).

A matrix moves by its momentum made orthogonal: all singular values of the update become about 1, so
that directions of small gradients are learnt as fast as those of large ones.

PyTorch's own `torch.optim.Muon` computes in bf16 alone, which a processor may have to emulate;
knows no `found_inf`; takes the stacked matrices of query, key and value for one; and one tensor at
a time. Hence this one. Where a tensor is one matrix, both agree.

Axes: N matrices of one shape, S rows, L columns, of which there are at least as many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.optimizer import ParamsT

from pretrain.optim.adam import taken
from pretrain.optim.groups import layer_matrices

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""of the quintic: chosen for its slope at 0 rather than for convergence; singular values end
between about 0.7 and 1.2"""
ITERATIONS = 5
LEAST_NORM = 1e-7
NUMBERS_AT_ONCE = 2**24
"""that one batch of matrices holds, if it is more than one: bounds what the update needs"""
MOMENTUM = ("momentum_buffer",)
"""what a matrix keeps from step to step"""


class Muon(Optimizer):
    """Groups with `matrices` 0 are AdamW's; those of n hold parameters of n matrices each, one
    below the other, and every matrix is updated by itself. State of these, fp32:
    `momentum_buffer`, `step`.

    The update has the step's rate times sqrt(max(1, rows / columns)), and weight decay is
    decoupled: a matrix shrinks by rate x `weight_decay`.

    Args:
        params: groups.
        lr: learning rate.
        betas, eps, weight_decay: of AdamW's groups; all have weight decay.
        momentum: Nesterov momentum of the matrices.
        dtype: in which matrices are made orthogonal.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        defaults = dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, momentum=momentum)
        super().__init__(params, {**defaults, "matrices": 0})
        self.dtype = dtype
        self.found_inf: Tensor | None = None
        """1 where the gradient is not finite: then `step` changes nothing, without a host sync"""
        rest = [group for group in self.param_groups if not group["matrices"]]
        self._adamw = AdamW(rest, lr=lr, fused=True) if rest else None

    @torch.no_grad()
    def step(  # type: ignore[override]  # torch declares it as two overloads
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Update all parameters that have a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            if group["matrices"]:
                for parameters in batches_of_one_shape(group["params"]):
                    self._update(group, parameters)
        if self._adamw is not None:
            # One state and one list of groups, whoever has loaded or replaced them since.
            self._adamw.state = self.state
            self._adamw.param_groups = [g for g in self.param_groups if not g["matrices"]]
            self._adamw.found_inf = self.found_inf  # type: ignore[attr-defined]  # read if there
            self._adamw.step()
        return loss

    def _update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        """Update parameters of one shape."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        is_taken = taken(self.found_inf, gradients)
        states = [self._state_of(p) for p in parameters]
        buffers = [state["momentum_buffer"] for state in states]
        # A list, as a single tensor would be read by the host, for a number.
        torch._foreach_add_([state["step"] for state in states], [is_taken] * len(states))
        # b += (1 - momentum) (g - b), a mean rather than a sum: what is made orthogonal has
        # no length, so both give the same update. Where nothing is taken b stays as it is.
        torch._foreach_lerp_(
            buffers, gradients, [(1 - group["momentum"]) * is_taken] * len(buffers)
        )
        # Nesterov: what the buffer would be after one more gradient like this one.
        ahead = torch._foreach_lerp(gradients, buffers, group["momentum"])
        stacked = torch.stack(split(ahead, group["matrices"]))
        # Its copy is stacked: the update's largest moment would else hold both.
        del ahead
        updates = orthogonal(stacked, self.dtype)
        matrices = split(parameters, group["matrices"])
        rows, columns = matrices[0].shape
        # A tensor on the device: to ask whether the step is taken would wait for it.
        rate = group["lr"] * is_taken
        torch._foreach_mul_(matrices, 1 - rate * group["weight_decay"])
        # All singular values are about 1, so the numbers of a taller matrix are smaller: sqrt(rows
        # / columns) lets outputs change as much per step as those of a square one.
        updates = updates.float() * (-rate * max(1.0, rows / columns) ** 0.5)
        torch._foreach_add_(matrices, list(updates.unbind()))

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return state


def split(stacks: list[Tensor] | tuple[Tensor, ...], matrices: int) -> list[Tensor]:
    """The matrices that lie one below the other in each tensor, as views."""
    return [matrix for stack in stacks for matrix in stack.chunk(matrices)]


def batches_of_one_shape(parameters: list[Tensor]) -> list[list[Tensor]]:
    """Those that have a gradient, shape by shape, `NUMBERS_AT_ONCE` numbers at a time."""
    # One batched product for many small matrices: a launch, or a loop in Python, for each would
    # cost more than the arithmetic.
    shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
    for parameter in parameters:
        if parameter.grad is not None:
            shapes[parameter.shape].append(parameter)
    batches = []
    for shape, alike in shapes.items():
        number = max(1, NUMBERS_AT_ONCE // shape.numel())
        batches += [alike[first : first + number] for first in range(0, len(alike), number)]
    return batches


def update_flops(model: nn.Module) -> float:
    """Floating-point operations of one update, which every rank does in full.

    Of S x L matrices a round multiplies S x L by L x S, S x S by S x S and S x S by S x L.
    """
    flops = 0
    for name, parameter in model.named_parameters():
        if matrices := layer_matrices(name, parameter, model):
            small, large = sorted((parameter.shape[0] // matrices, parameter.shape[1]))
            flops += matrices * ITERATIONS * (4 * small**2 * large + 2 * small**3)
    return float(flops)


def update_bytes(model: nn.Module, number: int) -> float:
    """What an update needs for a while beside weights, gradients and state, at its peak.

    Args:
        number: bytes of a number in which matrices are made orthogonal.
    """
    most, shapes = 0.0, defaultdict[tuple[torch.Size, int], int](int)
    for name, parameter in model.named_parameters():
        if matrices := layer_matrices(name, parameter, model):
            shapes[parameter.shape, matrices] += 1
    for (shape, matrices), count in shapes.items():
        elements = min(count, max(1, NUMBERS_AT_ONCE // shape.numel())) * shape.numel()
        sides = sorted((shape[0] // matrices, shape[1]))
        # The stacked momenta; two versions of each matrix, and two squares of its smaller side.
        most = max(most, elements * (4.0 + 2 * number * (1 + sides[0] / sides[1])))
    return most


def orthogonal(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """The nearest matrices with orthonormal rows or columns, roughly, by Newton and Schulz's
    iteration: singular values s become p(p(...p(s))), p(s) = a s + b s^3 + c s^5.

    Args:
        matrices: (N, rows, columns); one of zeros stays so.
    Returns:
        (N, rows, columns) in `dtype`.
    """
    a, b, c = COEFFICIENTS
    is_tall = matrices.shape[1] > matrices.shape[2]
    # The squares below are then of the smaller side.
    x_NSL = matrices.mT if is_tall else matrices
    # No singular value exceeds this norm, so all lie where the iteration works.
    norm_N11 = torch.linalg.matrix_norm(x_NSL, keepdim=True)
    x_NSL = (x_NSL / norm_N11.clamp(min=LEAST_NORM)).to(dtype)
    # p(X) = a X + (b G + c G G) X with G = X X': three products a round, and sums for nothing.
    for _ in range(ITERATIONS):
        gram_NSS = x_NSL @ x_NSL.mT
        polynomial_NSS = torch.baddbmm(gram_NSS, gram_NSS, gram_NSS, beta=b, alpha=c)
        x_NSL = torch.baddbmm(x_NSL, polynomial_NSS, x_NSL, beta=a)
    return x_NSL.mT if is_tall else x_NSL
