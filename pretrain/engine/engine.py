"""A model under DeepSpeed: the only module that imports it.

DeepSpeed does data parallelism, mixed precision, accumulation, clipping and ZeRO. It averages
gradients over ranks and micro-batches; the objective wants a sum over the global batch divided by
the global count of predicted tokens (law 2), so the loss is scaled for that here.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from configs.errors import InputError
from configs.schema import OptimizerConfig, PrecisionName, StepConfig
from pretrain.model.encoder import Encoder
from pretrain.model.flops import DTYPES, choose_products
from pretrain.model.pretraining import MLMHead
from pretrain.optim.groups import parameter_groups
from pretrain.optim.lamb import Lamb
from pretrain.optim.muon import MOMENTUM, Muon
from pretrain.optim.stable_adamw import StableAdamW
from pretrain.ranks.collectives import bucket_elements
from pretrain.ranks.devices import local_rank_is
from pretrain.ranks.reducer import Reducer
from pretrain.ranks.world import World
from pretrain.run.checkpoint import MOMENTS

NUMBERS = {"none": "fp32", "bf16": "bf16", "fp16": "fp16"}
LAYERS = [f"torch.nn.{name}" for name in ("Linear", "Embedding", "LayerNorm")]
COMPRESSIBLE: dict[str, list[str]] = {"none": [], "bf16": LAYERS, "fp16": []}
"""modules whose gradients travel in autocast's bf16 under ZeRO 1 and 2"""


class Engine:
    """A model under DeepSpeed, one optimizer step at a time."""

    def __init__(
        self,
        model: nn.Module,
        config: StepConfig,
        world: World,
        precision: PrecisionName,
        layer_decay: float = 1.0,
        compiles: bool = False,
    ) -> None:
        """`precision` and `compiles` are what `engine.precision` and `engine.compile` were resolved
        to (`precision.py`, `compiling.py`)."""
        self.world, self.model = world, model
        self.max_gradient_norm = config.optimizer.max_gradient_norm
        self.precision = precision
        self.zero_stage = config.engine.zero_stage
        check_compression(config, self.precision)
        check_residual(config, self.precision)
        choose_products(precision)
        with local_rank_is(world.device.index):
            self._engine, *_ = _deepspeed().initialize(
                model=model,
                optimizer=make_optimizer(model, config.optimizer, precision, layer_decay),
                config=deepspeed_config(config, self.precision, world.size),
                dist_init_required=False,
            )
        # At stage 0 DeepSpeed would reduce after the backward pass, in buckets of its own size.
        self._engine.enable_backward_allreduce = self.zero_stage > 0
        self._reducer: Reducer | None = None
        if self.zero_stage == 0 and world.size > 1:
            self._reducer = Reducer(model.parameters(), config.collective)
        self._open_moments()
        for part in model.modules():
            if isinstance(part, Encoder):
                part.residual_dtype = DTYPES[config.engine.residual]
        if compiles:
            self._compile()

    def _compile(self) -> None:
        for part in self.model.modules():
            if isinstance(part, Encoder):
                part.compile_layers()
            elif isinstance(part, MLMHead):
                part.compile_softmax()

    @property
    def optimizer(self) -> Any:
        """PyTorch's optimizer at ZeRO 0, else DeepSpeed's around it, which has no common type."""
        return self._engine.optimizer

    def __call__(self, batch: Any) -> Any:
        """The model's output for a micro-batch."""
        return self._engine(batch)

    def train(self, mode: bool = True) -> None:
        """Switch dropout on, or off for evaluation."""
        self._engine.train(mode)

    def casts_kept(self) -> torch.autocast:
        """A context of all micro-batches between two updates: a weight is cast in the first alone.

        No update, and no forward pass without gradients, may lie within.
        """
        # Autocast forgets its casts as the outermost context ends, also one that casts nothing.
        # With recomputation on CUDA that is sooner: backward passes have threads of their own.
        return torch.autocast(self.world.device.type, enabled=False)

    def backward(self, loss: Tensor, is_last: bool) -> None:
        """Accumulate the gradient of this rank's part of a global sum; reduce it with the last."""
        self._engine.set_gradient_accumulation_boundary(is_last)
        with self._reducer.reducing() if self._reducer and is_last else nullcontext():
            # The reducer and DeepSpeed divide the sum over ranks by their number.
            self._engine.backward(loss * self.world.size, scale_wrt_gas=False)
        # DeepSpeed counts micro-batches in its `step`, which updates only at a boundary.
        if not is_last:
            self._engine.step()

    def step(self, learning_rate: float) -> Tensor:
        """Clip and update; returns the global gradient norm before clipping, on the device.

        Where it is not finite nothing changes: neither weights, nor moments, nor their count.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group["rate_scale"]
        if self.zero_stage > 0:
            self._engine.step()  # which looks at the norm itself, and skips
            return torch.as_tensor(self._engine.get_global_grad_norm(), device=self.world.device)
        # At stage 0 DeepSpeed clips without telling the norm: clipping here measures it once.
        limit = self.max_gradient_norm or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        # PyTorch's fused optimizers, made for loss scaling, read it on the device; ours as well.
        self.optimizer.found_inf = (~torch.isfinite(norm)).float()
        self._engine.step()
        return norm

    # -- what a checkpoint holds, in full whatever the ZeRO stage: collective calls --------------

    def full_weight(self, parameter: Tensor) -> Tensor:
        """A parameter's fp32 weights."""
        if self.zero_stage == 0:
            return parameter.detach()
        weight: Tensor = _deepspeed().utils.safe_get_full_fp32_param(parameter)
        return weight

    def moments_of(self, parameter: Tensor) -> tuple[str, ...]:
        """Names of what the optimizer keeps of a parameter, in its shape."""
        if self.zero_stage > 0:
            return MOMENTS
        return tuple(name for name in self.optimizer.state[parameter] if name != "step")

    def full_moment(self, parameter: Tensor, moment: str) -> Tensor:
        """One of `moments_of` a parameter."""
        values: Tensor
        if self.zero_stage == 0:
            values = self.optimizer.state[parameter][moment]
        else:
            values = _deepspeed().utils.safe_get_full_optimizer_state(parameter, moment)
        return values

    @torch.no_grad()
    def set_weight(self, parameter: Tensor, value: Tensor) -> None:
        """The reverse of `full_weight`."""
        parameter.copy_(value)
        if self.zero_stage > 0:
            _deepspeed().utils.safe_set_full_fp32_param(parameter, value)

    def set_moment(self, parameter: Tensor, moment: str, value: Tensor) -> None:
        """The reverse of `full_moment`."""
        if self.zero_stage > 0:
            _deepspeed().utils.safe_set_full_optimizer_state(parameter, value, moment)
        else:
            self.optimizer.state[parameter][moment].copy_(value)

    def set_step(self, step: int) -> None:
        """Tell the optimizer how many updates its moments have seen."""
        for state in self._torch_optimizer.state.values():
            state["step"].fill_(step)

    def _open_moments(self) -> None:
        """Make the moments now rather than at the first update.

        Under ZeRO, DeepSpeed maps parameters to pieces of the flat moments after the update of the
        first parameter group, and so misses those of the second.
        """
        for group in self._torch_optimizer.param_groups:
            names = MOMENTUM if group["matrices"] else MOMENTS
            for tensor in group["params"]:  # under ZeRO, this rank's flat pieces
                step = torch.zeros((), device=tensor.device)
                moments = {name: torch.zeros_like(tensor) for name in names}
                self._torch_optimizer.state[tensor] = {"step": step, **moments}
        if self.zero_stage > 0:
            self.optimizer._lazy_init_hp_params_optimizer_state()

    @property
    def _torch_optimizer(self) -> torch.optim.Optimizer:
        inner: torch.optim.Optimizer
        inner = self.optimizer.optimizer if self.zero_stage > 0 else self.optimizer
        return inner


def make_optimizer(
    model: nn.Module,
    config: OptimizerConfig,
    precision: PrecisionName = "fp32",
    layer_decay: float = 1.0,
) -> torch.optim.Optimizer:
    """The update rule over the parameter groups; AdamW is PyTorch's, fused.

    Args:
        precision: that of the forward pass: Muon makes matrices orthogonal in it.
    """
    rate, betas, eps = config.learning_rate, (config.beta1, config.beta2), config.epsilon
    if config.name == "muon":
        scale = config.matrix_learning_rate / rate
        groups = parameter_groups(model, config.weight_decay, layer_decay, scale)
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        return Muon(groups, rate, betas, eps, momentum=config.momentum, dtype=dtype)
    groups = parameter_groups(model, config.weight_decay, layer_decay)
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=eps, fused=True)
    rule = {"lamb": Lamb, "stable-adamw": StableAdamW}[config.name]
    return rule(groups, lr=rate, betas=betas, eps=eps)


def deepspeed_config(
    config: StepConfig, precision: PrecisionName, world_size: int
) -> dict[str, object]:
    """What DeepSpeed is told; accumulation boundaries and loss scaling stay with `Engine`."""
    stage, collective = config.engine.zero_stage, config.collective
    accumulation = config.batch.micro_batches(world_size) // world_size
    return {
        "train_micro_batch_size_per_gpu": config.batch.micro_sequences,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": config.optimizer.max_gradient_norm if stage else 0.0,
        "zero_optimization": {
            "stage": stage,
            "reduce_bucket_size": bucket_elements(collective),
            "overlap_comm": collective.overlaps(stage),
        },
        "zero_allow_untested_optimizer": True,
        "communication_data_type": NUMBERS[collective.compression],
        # `bf16.enabled` would step once on zero gradients at start; autocast keeps fp32 weights.
        "torch_autocast": {
            "enabled": precision == "bf16",
            "dtype": "bfloat16",
            # Under autocast ZeRO reduces the gradients of these in bf16, asked or not: name none.
            "lower_precision_safe_modules": COMPRESSIBLE[collective.compression],
        },
        "steps_per_print": 2**31,
        # It waits for the device at every micro-batch.
        "timers": {"throughput": {"enabled": False}},
    }


def check_compression(config: StepConfig, precision: PrecisionName) -> None:
    """Raise `InputError` for a compression that DeepSpeed would silently leave out."""
    compression = config.collective.compression
    if compression == "fp16" and config.engine.zero_stage > 0 and precision == "bf16":
        raise InputError(
            "collective.compression=fp16 has no effect with engine.zero_stage="
            f"{config.engine.zero_stage} in bf16: choose compression=bf16 or zero_stage=0"
        )


def check_residual(config: StepConfig, precision: PrecisionName) -> None:
    """Raise `InputError` for hidden states that are narrower than the products of them."""
    if config.engine.residual == "bf16" and precision != "bf16":
        raise InputError(
            f"engine.residual=bf16 needs engine.precision=bf16, which is {precision} here: set "
            "engine.residual=fp32"
        )


def _deepspeed() -> ModuleType:
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed
    from deepspeed.utils import logger

    logger.setLevel("ERROR")
    # No compiled operators: of those only a sum for inference would be made here, at the first
    # start of each installation, behind a lock that a killed start leaves for ever. Gradients never
    # took that way: they go by torch.distributed.
    deepspeed.ops.__compatible_ops__ = {}
    module: ModuleType = deepspeed
    return module
