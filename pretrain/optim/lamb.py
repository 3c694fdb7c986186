"""LAMB: layer-wise adaptive moments for large batches (You et al., 2019, algorithm 2).

DeepSpeed's LAMB has no CPU version and refuses bf16, and under ZeRO a tensor's norm would be that
of a piece; hence this one, to be run at ZeRO 0.

All tensors of a group are updated by one call (`torch._foreach_...`), which is one kernel on CUDA
instead of one for each of some 150 tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT


class Lamb(Optimizer):
    """Adam's direction plus decoupled weight decay, rescaled per tensor by |weights| / |direction|.

    Query, key and value are one tensor here, and so share a trust ratio where BERT's have three.

    Groups with `layer_adaptation` False (biases, LayerNorm) keep a trust ratio of 1, as in the
    authors' implementation; a group that does not say adapts where it decays. State per parameter,
    fp32: `exp_avg`, `exp_avg_sq`, `step`.

    Args:
        params: parameters or groups.
        lr: learning rate.
        betas: decays of the two moments; both are bias-corrected.
        eps: added to the root of the second moment.
        weight_decay: decoupled decay, inside the trust ratio.
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
            if parameters:
                self._update(group, parameters)
        return loss

    def _update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        taken = torch.ones((), device=parameters[0].device)
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.found_inf is not None:
            # A step that is to change nothing is computed all the same and multiplied by 0: asking
            # the device whether would make the host wait. Infinities go first, as inf x 0 is NaN.
            taken = 1 - self.found_inf
            for gradient in gradients:
                gradient.masked_fill_(taken == 0, 0.0)
        direction = self._adam_direction(group, parameters, gradients, taken)
        # Weight decay is a part of the direction whose norm is taken (algorithm 2, line 8), unlike
        # in AdamW.
        if group["weight_decay"]:
            torch._foreach_add_(direction, parameters, alpha=group["weight_decay"])
        if group.get("layer_adaptation", group["weight_decay"] > 0):
            # The layer moves by lr x |weights|, however large its gradient is: what lets batches
            # grow without layers of small weights being thrown far off.
            torch._foreach_mul_(direction, trust_ratios(parameters, direction))
        torch._foreach_mul_(direction, taken)
        torch._foreach_add_(parameters, direction, alpha=-group["lr"])

    def _adam_direction(
        self,
        group: dict[str, Any],
        parameters: list[Tensor],
        gradients: list[Tensor],
        taken: Tensor,
    ) -> tuple[Tensor, ...]:
        """m / (sqrt(v) + eps), both bias-corrected; `taken` 0 leaves moments and counts alone."""
        beta1, beta2 = group["betas"]
        states = [self._state_of(p) for p in parameters]
        first = [state["exp_avg"] for state in states]
        second = [state["exp_avg_sq"] for state in states]
        torch._foreach_add_([state["step"] for state in states], taken)
        # In double precision, as 1 - 0.999 has few digits; 1 and more, as a first step that is not
        # taken would divide by 0.
        steps = [state["step"].double().clamp(min=1) for state in states]
        # m += (1 - beta1) (g - m): that is beta1 m + (1 - beta1) g, and m itself where nothing is
        # taken.
        torch._foreach_lerp_(first, gradients, [(1 - beta1) * taken] * len(first))
        torch._foreach_mul_(second, torch.where(taken > 0, beta2, 1.0))
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
        denominator = torch._foreach_sqrt(second)
        torch._foreach_div_(denominator, [(1 - beta2**n).sqrt().float() for n in steps])
        torch._foreach_add_(denominator, group["eps"])
        direction = torch._foreach_div(first, denominator)
        torch._foreach_div_(direction, [(1 - beta1**n).float() for n in steps])
        return direction

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state


def trust_ratios(parameters: list[Tensor], direction: tuple[Tensor, ...]) -> list[Tensor]:
    """|weights| / |direction| of each tensor, 1 where either is 0; no host sync."""
    weight_norms = torch._foreach_norm(parameters)
    direction_norms = torch._foreach_norm(direction)
    return [
        torch.where((w > 0) & (d > 0), w / d, torch.ones_like(w))
        for w, d in zip(weight_norms, direction_norms)
    ]
