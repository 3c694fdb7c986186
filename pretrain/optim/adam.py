"""Adam's moments, for the update rules here that are built on them (Kingma and Ba, 2015).

All tensors of a group are updated by one call (`torch._foreach_...`), which is one kernel on CUDA
instead of one for each of some 150 tensors. A step that is to change nothing is computed all the
same and multiplied by 0: asking the device whether would make the host wait.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT


class AdamMoments(Optimizer):
    """An update rule on the two moments of the gradient. State per parameter, fp32: `exp_avg`,
    `exp_avg_sq`, `step`.

    Args:
        params: parameters or groups.
        lr: learning rate.
        betas: decays of the two moments; both are bias-corrected.
        eps: added to the root of the second moment.
        weight_decay: decoupled decay.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))
        self.found_inf: Tensor | None = None
        """1 where the gradient is not finite: then `step` changes nothing, without a host sync"""

    @torch.no_grad()
    def step(  # type: ignore[override]  # torch declares it as two overloads
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Update all parameters that have a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            gradients = [p.grad for p in parameters]
            if parameters:
                self.update(group, parameters, gradients, taken(self.found_inf, gradients))
        return loss

    @abstractmethod
    def update(
        self,
        group: dict[str, Any],
        parameters: list[Tensor],
        gradients: list[Tensor],
        taken: Tensor,
    ) -> None:
        """Update the parameters of a group; `taken` 0 must leave them and their state alone."""

    def moments(
        self,
        group: dict[str, Any],
        parameters: list[Tensor],
        gradients: list[Tensor],
        taken: Tensor,
    ) -> tuple[list[Tensor], tuple[Tensor, ...], list[Tensor]]:
        """(m, the root of v / (1 - beta2^n), n) of each parameter, after this gradient."""
        beta1, beta2 = group["betas"]
        states = [self._state_of(p) for p in parameters]
        first = [state["exp_avg"] for state in states]
        second = [state["exp_avg_sq"] for state in states]
        # A list, as a single tensor would be read by the host, for a number.
        torch._foreach_add_([state["step"] for state in states], [taken] * len(states))
        # In double precision, as 1 - 0.999 has few digits; 1 and more, as a first step that is not
        # taken would divide by 0.
        steps = [state["step"].double().clamp(min=1) for state in states]
        # m += (1 - beta1) (g - m): that is beta1 m + (1 - beta1) g, and m itself where nothing is
        # taken.
        torch._foreach_lerp_(first, gradients, [(1 - beta1) * taken] * len(first))
        torch._foreach_mul_(second, torch.where(taken > 0, beta2, 1.0))
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
        roots = torch._foreach_sqrt(second)
        torch._foreach_div_(roots, [(1 - beta2**n).sqrt().float() for n in steps])
        return first, roots, steps

    def direction(
        self,
        group: dict[str, Any],
        first: list[Tensor],
        roots: tuple[Tensor, ...],
        steps: list[Tensor],
    ) -> tuple[Tensor, ...]:
        """m / (1 - beta1^n) / (root + eps), from `moments`, whose roots it uses up."""
        torch._foreach_add_(roots, group["eps"])
        direction = torch._foreach_div(first, roots)
        torch._foreach_div_(direction, [(1 - group["betas"][0] ** n).float() for n in steps])
        return direction

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state


def taken(found_inf: Tensor | None, gradients: list[Tensor]) -> Tensor:
    """1, or 0 where the step is to change nothing; then the gradients become 0 where they stand, as
    infinity x 0 would be NaN."""
    taken = torch.ones((), device=gradients[0].device)
    if found_inf is not None:
        taken = 1 - found_inf
        for gradient in gradients:
            gradient.masked_fill_(taken == 0, 0.0)
    return taken
