"""Models as ONNX graphs: padded in, padded out, batch and length dynamic.

Axes: B sequences, L longest sequence, D hidden size, H heads, K head size, V vocabulary; 3 for
query, key, value.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from pretrain.model.encoder import Encoder, Layer
from pretrain.model.feed_forward import plainly_activated
from pretrain.model.pretraining import PretrainingModel
from pretrain.model.rotary import angles, turned
from pretrain.model.scope import Scope, slopes

ENCODER_GRAPH, MLM_GRAPH = "encoder.onnx", "mlm.onnx"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OPSET = 18
TOLERANCE = 1e-4


class PaddedEncoder(nn.Module):
    """The encoder's computation on padded input, from the same parameters, in evaluation.

    Sequences stand at the left; where `attention_mask` is 0 there is no token.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids_BL: Tensor, mask_BL: Tensor, segments_BL: Tensor) -> Tensor:
        """(B, L, D)."""
        parts = self.encoder.embeddings
        places_L = torch.arange(ids_BL.shape[1], device=ids_BL.device)
        summed = parts.word(ids_BL)
        if parts.segment is None:
            # An input that nothing reads would not be one of the graph's: adds nothing.
            summed = summed + 0.0 * segments_BL[..., None]
        else:
            # A model with one segment type ignores the segments, as the flat encoder does.
            summed = summed + parts.segment(segments_BL * (len(parts.segment.weight) - 1))
        if parts.position is not None:
            summed = summed + parts.position(places_L + parts.first_position)
        hidden_BLD: Tensor = parts.norm(summed)
        bias_B11L = (1.0 - mask_BL[:, None, None].to(hidden_BLD.dtype)) * -1e9
        for layer in self.encoder.layers:
            assert isinstance(layer, Layer)
            hidden_BLD = padded_layer(layer, hidden_BLD, places_L, bias_B11L)
        final_BLD: Tensor = self.encoder.final_norm(hidden_BLD)
        return final_BLD


def padded_layer(layer: Layer, hidden_BLD: Tensor, places_L: Tensor, bias_B11L: Tensor) -> Tensor:
    """One layer without dropout."""
    is_pre = layer.is_pre_norm
    context_BLD = padded_attention(
        layer, layer.attention_norm(hidden_BLD) if is_pre else hidden_BLD, places_L, bias_B11L
    )
    hidden_BLD = hidden_BLD + layer.attention_output(context_BLD)
    if not is_pre:
        hidden_BLD = layer.attention_norm(hidden_BLD)
    inner = layer.feed_forward_inner(layer.feed_forward_norm(hidden_BLD) if is_pre else hidden_BLD)
    update = layer.feed_forward_output(plainly_activated(layer.feed_forward, inner))
    output_BLD: Tensor = hidden_BLD + update
    return output_BLD if is_pre else layer.feed_forward_norm(output_BLD)


def padded_attention(
    layer: Layer, input_BLD: Tensor, places_L: Tensor, bias_B11L: Tensor
) -> Tensor:
    """What the heads gather, (B, L, D), before the output's projection."""
    qkv_BL3HK = layer.head_norm(layer.qkv(input_BLD).unflatten(-1, (3, layer.heads, -1)))
    query, key, value = (part.transpose(1, 2) for part in qkv_BL3HK.unbind(2))
    if layer.theta is not None:
        angles_LK = angles(places_L, layer.theta, layer.head_size, query.dtype)
        cosine, sine = angles_LK.cos(), angles_LK.sin()
        query, key = (torch.cat(turned(part, cosine, sine), -1) for part in (query, key))
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5 + bias_B11L
    scores = scores + place_bias(layer.scope, layer.heads, places_L)
    context_BHLK: Tensor = scores.softmax(-1) @ value
    return context_BHLK.transpose(1, 2).flatten(2)


def place_bias(scope: Scope, heads: int, places_L: Tensor) -> Tensor | float:
    """What a layer's scope adds to scores, (L, L) or (H, L, L); 0 where it is the whole."""
    distance_LL = (places_L[:, None] - places_L).abs()
    bias: Tensor | float = 0.0
    if scope.reach is not None:
        bias = (distance_LL > scope.reach).to(torch.float32) * -1e9
    if scope.alibi:
        bias = bias - torch.tensor(slopes(heads))[:, None, None] * distance_LL
    return bias


class PaddedMLM(nn.Module):
    """Encoder and MLM head for every position."""

    def __init__(self, model: PretrainingModel) -> None:
        super().__init__()
        self.encoder, self.head = PaddedEncoder(model.encoder), model.mlm_head

    def forward(self, ids_BL: Tensor, mask_BL: Tensor, segments_BL: Tensor) -> Tensor:
        """Logits (B, L, V)."""
        hidden_BLD = self.encoder(ids_BL, mask_BL, segments_BL)
        logits_BLV: Tensor = self.head(hidden_BLD, self.encoder.encoder.embeddings.word.weight)
        return logits_BLV


def write_onnx(path: Path, module: nn.Module, outputs: tuple[str, ...], per_token: bool) -> None:
    """Write one graph that takes `INPUTS`, int64 (B, L), and check it against `module`.

    Args:
        module: from three tensors to one, or a tuple of as many as `outputs`.
        per_token: whether the outputs have the axis L.
    Raises:
        RuntimeError: the graph computes something else.
    """
    module = module.eval().cpu()
    example = tuple(torch.ones(2, 8, dtype=torch.int64) for _ in INPUTS)
    axes = {0: "batch", 1: "length"}
    dynamic = {name: axes for name in INPUTS}
    dynamic |= {name: axes if per_token else {0: "batch"} for name in outputs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            example,
            str(path),
            input_names=list(INPUTS),
            output_names=list(outputs),
            dynamic_axes=dynamic,
            opset_version=OPSET,
            dynamo=False,
        )
    check_graph(path, module)


@torch.no_grad()
def check_graph(path: Path, module: nn.Module) -> None:
    """Raise `RuntimeError` unless onnxruntime gets from a graph what `module` computes.

    Batch and lengths are others than those of the export, to prove both dynamic.
    """
    import onnxruntime

    mask_BL = (torch.arange(7) < torch.tensor([7, 1, 4])[:, None]).long()
    ids_BL = torch.arange(mask_BL.numel()).view_as(mask_BL)
    inputs = (ids_BL, mask_BL, torch.zeros_like(ids_BL))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    computed = session.run(None, {name: value.numpy() for name, value in zip(INPUTS, inputs)})
    expected = module(*inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for ours, theirs in zip(expected, map(torch.from_numpy, computed)):
        if ours.ndim > 1 and ours.shape[:2] == mask_BL.shape:
            ours, theirs = ours[mask_BL.bool()], theirs[mask_BL.bool()]
        difference = (ours - theirs).abs().max().item()
        if not difference < TOLERANCE:
            raise RuntimeError(f"{path.name}: onnxruntime differs from PyTorch by {difference:g}")
