"""Layers are compiled as one graph for micro-batches of all sizes, and compute the same.

Flash attention's kernel has a stand-in on a CPU; what surrounds it is the code of a GPU.
"""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pretrain.batch import flattened, unflattened
from pretrain.model.encoder import Layer
from pretrain.model.packing import Packing
from tests.fake_cuda.stand_in import flash_on_cpu
from tests.unit.pretrain.model.examples import random_batch, tiny

BERT = {"hidden_size": 32, "heads": 2, "feed_forward_size": 48}
MODERN = {
    **{"norm": "pre", "position": "rope", "feed_forward": "geglu", "bias": "decoder"},
    **{"attention_window": 8, "global_every": 2, "rope_local_theta": 100.0},
}
OTHER = {"norm_kind": "rmsnorm", "qk_norm": True, "feed_forward": "relu2"}
KINDS = {"BERT": BERT, "ModernBERT": BERT | MODERN, "other": BERT | OTHER}
LENGTHS = [[32] * 4, [32] * 6, [32, 17, 5], [31, 30, 29, 32], [64] * 4, [7, 64, 3], [64, 50, 33]]
"""uniform and ragged, and at last one whose tokens are rounded up to more rows"""


def layer_of(kind: dict, dtype: torch.dtype = torch.float32) -> Layer:
    torch.manual_seed(0)
    layer = Layer(tiny(**kind, max_positions=64), 1).to(dtype)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return layer


def computed(
    layer: Layer, lengths: list[int], backend: str = "flash", stream: torch.dtype | None = None
) -> list[Tensor]:
    """What comes out for the same input, and every gradient."""
    batch = random_batch(lengths, share=0.15)
    views = unflattened(flattened(batch.tensors, batch.layout, pin=False), batch.layout)
    packing = Packing.of(replace(batch, **views))  # as on a GPU
    torch.manual_seed(1)
    dtype = layer.qkv.weight.dtype
    hidden = torch.randn(packing.rows, 32).to(stream or dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=backend == "flash"):
        out = layer(hidden, packing, backend, None, layer.rotation(packing))[: packing.tokens]
    weight = torch.linspace(-1, 1, out.numel()).view_as(out).to(dtype)
    gradients = torch.autograd.grad((out.to(dtype) * weight).sum(), [hidden, *layer.parameters()])
    return [out.detach(), *gradients]


@pytest.mark.parametrize("stream", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_one_graph_does_for_all_sizes(kind, stream):
    graphs = []

    def counted(graph, _):
        graphs.append(graph)
        return graph.forward

    plain, compiled = layer_of(KINDS[kind]), layer_of(KINDS[kind])
    torch._dynamo.reset()
    compiled.compile(backend=counted, fullgraph=True, dynamic=True)
    with flash_on_cpu():
        for lengths in LENGTHS:
            pair = (computed(layer, lengths, stream=stream) for layer in (plain, compiled))
            for one, other in zip(*pair):
                torch.testing.assert_close(one, other, rtol=1e-2, atol=2e-3)
    assert len(graphs) == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs one of C++ here")
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_layers_are_as_exact_as_others(kind):
    """Against float64; bfloat16 errs by the same with or without the compiler."""
    exact, plain, compiled = (
        layer_of(KINDS[kind], t) for t in (torch.float64, torch.float32, torch.float32)
    )
    torch._dynamo.reset()
    compiled.compile(fullgraph=True, dynamic=True)
    for lengths in LENGTHS[1:3]:
        expected = computed(exact, lengths, "eager")
        with flash_on_cpu():
            results = computed(plain, lengths), computed(compiled, lengths)
        for true, one, other in zip(expected, *results):
            errors = [float((found.double() - true).norm()) for found in (one, other)]
            assert errors[1] <= 1.5 * errors[0] + 1e-3 * float(true.norm())
