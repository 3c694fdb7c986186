"""All attention backends agree, and the right one is chosen."""

from dataclasses import replace

import pytest
import torch

from configs.errors import InputError
from pretrain.model import attention
from pretrain.model.attention import attend, choose_backend
from pretrain.model.dropout import AttentionDropout
from pretrain.model.packing import Packing
from pretrain.model.scope import WHOLE, Scope
from tests.fake_cuda.stand_in import flash_on_cpu
from tests.unit.pretrain.model.examples import RAGGED, random_batch, random_model, tiny

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NO_DROPOUT = AttentionDropout(0.0, site=1)
WINDOW, ALIBI = Scope(reach=64), Scope(alibi=True)
FP32, BF16 = torch.float32, torch.bfloat16
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def by_hand(qkv_T3HK, lengths):
    """One sequence and head at a time, from the definition."""
    parts = []
    for qkv in qkv_T3HK.split(lengths):
        query, key, value = qkv.permute(1, 2, 0, 3)
        scores = torch.einsum("hqk,hpk->hqp", query, key) / query.shape[-1] ** 0.5
        parts.append(torch.einsum("hqp,hpk->qhk", scores.softmax(-1), value))
    return torch.cat(parts)


@pytest.mark.parametrize("lengths", [RAGGED, (6, 6, 6)], ids=["ragged", "uniform"])
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_backend_computes_the_definition(backend, lengths):
    torch.manual_seed(0)
    qkv = torch.randn(sum(lengths), 3, 4, 8)
    out = attend(qkv, Packing.of(random_batch(lengths)), backend, NO_DROPOUT)
    torch.testing.assert_close(out, by_hand(qkv, lengths), rtol=1e-5, atol=1e-6)


def test_gradients_of_eager_and_sdpa_agree():
    gradients = []
    for backend in ("eager", "sdpa"):
        model = random_model(tiny(attention=backend))
        model(random_batch()).mlm_loss_sum.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for eager, sdpa in zip(*gradients):
        torch.testing.assert_close(eager, sdpa, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rate", [0.0, 0.1])  # the stand-in drops nothing
@pytest.mark.parametrize("scope", [WHOLE, Scope(reach=2)], ids=["whole", "window"])
@pytest.mark.parametrize("documents", [None, (3, 4, 12, 1, 2, 7)], ids=["sequences", "documents"])
@pytest.mark.parametrize(("lengths", "head"), [(RAGGED, 64), (RAGGED, 20), ((7, 12, 10), 8)])
def test_flash_attention_is_called_for_what_eager_computes(lengths, head, documents, scope, rate):
    batch = random_batch(lengths)
    if documents:
        bounds = torch.tensor([0, *documents]).cumsum(0).int()
        batch = replace(batch, documents=bounds, longest_document=12)
    packing, found = Packing.of(batch), []
    torch.manual_seed(0)
    values = torch.randn(packing.rows, 3, 4, head).bfloat16()
    with flash_on_cpu():
        for backend, dtype, own in (("flash", BF16, rate), ("eager", FP32, 0.0)):
            qkv = values.detach().clone().to(dtype).requires_grad_()
            out = attend(qkv, packing, backend, AttentionDropout(own, site=1), scope)
            out[: packing.tokens].float().square().sum().backward()
            found.append([out.float(), qkv.grad.float()])
    for flash, eager in zip(*found):
        torch.testing.assert_close(flash, eager, rtol=5e-2, atol=5e-2)


@needs_cuda
def test_cuda_kernels_compute_the_definition_and_its_gradient():
    qkv = torch.randn(sum(RAGGED), 3, 4, 64, device=CUDA, dtype=BF16, requires_grad=True)
    exact = qkv.detach().float().requires_grad_()
    out = attention._flash(qkv, Packing.of(random_batch().to(CUDA)), 0.0, WHOLE)
    expected = by_hand(exact, RAGGED)
    torch.testing.assert_close(out.float(), expected, rtol=2e-2, atol=2e-2)
    direction = torch.randn_like(expected)
    out.backward(direction.to(BF16))
    expected.backward(direction)
    torch.testing.assert_close(qkv.grad.float(), exact.grad, rtol=5e-2, atol=5e-2)


@needs_cuda
@pytest.mark.parametrize("documents", [None, (3, 4, 12, 1, 2, 7)])
def test_flash_kernels_see_windows_and_documents(documents):
    if attention.flash_lacks(Scope(reach=2)):
        pytest.skip("no kernel of this torch takes windows")
    batch = random_batch()
    if documents:
        bounds = torch.tensor([0, *documents]).cumsum(0).int()
        batch = replace(batch, documents=bounds, longest_document=12)
    found = []
    for device, dtype, backend in ((CUDA, BF16, "flash"), (CPU, FP32, "eager")):
        torch.manual_seed(0)
        qkv = torch.randn(sum(RAGGED), 3, 4, 64).to(device, dtype).requires_grad_()
        out = attend(qkv, Packing.of(batch.to(device)), backend, NO_DROPOUT, Scope(reach=2))
        out.square().sum().backward()
        found.append([out.float().cpu(), qkv.grad.float().cpu()])
    for flash, eager in zip(*found):
        torch.testing.assert_close(flash, eager, rtol=5e-2, atol=5e-2)


@needs_cuda
def test_cuda_dropout_follows_the_seed_and_trains():
    model = random_model(tiny(hidden_size=64, dropout=0.1, attention_dropout=0.1)).to(CUDA)
    batch, losses = random_batch().to(CUDA), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        with torch.autocast("cuda", BF16):
            assert model.attention_backend == "flash"
            losses.append(model(batch).mlm_loss_sum)
    losses[0].backward()
    assert losses[0] == losses[1] != losses[2]
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("device", "dtype", "longest", "rate", "chosen"),
    [
        (CPU, FP32, 512, 0.0, "eager"),
        (CPU, BF16, 512, 0.1, "eager"),
        (CPU, BF16, 513, 0.0, "sdpa"),
        (CPU, BF16, 513, 0.1, "eager"),
        (CUDA, BF16, 128, 0.1, "flash"),
        (CUDA, FP32, 128, 0.1, "sdpa"),
    ],
)
def test_auto_chooses(device, dtype, longest, rate, chosen):
    assert choose_backend("auto", device, dtype, longest, rate) == chosen


def test_a_request_is_followed():
    assert choose_backend("eager", CUDA, BF16, 512, 0.1) == "eager"
    assert choose_backend("sdpa", CUDA, BF16, 512, 0.1) == "sdpa"
    assert choose_backend("flash", CUDA, BF16, 512, 0.1) == "flash"
    assert choose_backend("sdpa", CPU, FP32, 128, 0.0) == "sdpa"


@pytest.mark.parametrize(
    ("requested", "device", "dtype", "rate", "cure"),
    [
        ("flash", CPU, BF16, 0.0, "choose auto"),
        ("flash", CUDA, FP32, 0.0, "engine.precision=bf16"),
        ("sdpa", CPU, FP32, 0.1, "model.attention_dropout=0"),
    ],
)
def test_impossible_requests_name_the_cure(requested, device, dtype, rate, cure):
    with pytest.raises(InputError, match=cure):
        choose_backend(requested, device, dtype, 128, rate)


@pytest.mark.parametrize(("scope", "field"), [(ALIBI, "alibi"), (WINDOW, "attention_window")])
def test_flash_is_not_taken_for_what_its_kernels_lack(scope, field, monkeypatch):
    """ALiBi never; windows where no kernel that is installed takes them."""
    monkeypatch.setattr(attention, "_takes_windows", lambda: False)
    assert choose_backend("auto", CUDA, BF16, 512, 0.1, [WHOLE, scope]) == "sdpa"
    with pytest.raises(InputError, match=f"model.attention=flash: .*{field}.*choose auto"):
        choose_backend("flash", CUDA, BF16, 512, 0.1, [WHOLE, scope])


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_windows_are_flashed_where_the_kernel_takes_them(rate, monkeypatch):
    monkeypatch.setattr(attention, "_takes_windows", lambda: True)
    assert choose_backend("auto", CUDA, BF16, 512, rate, [WINDOW]) == "flash"
    assert choose_backend("auto", CUDA, BF16, 512, rate, [ALIBI]) == "sdpa"


def test_model_tells_its_backend():
    model = random_model(tiny(max_positions=600, attention_dropout=0.1))
    assert model.train().attention_backend == "eager"
    assert model.eval().attention_backend == "sdpa"


@torch.no_grad()
def test_sequences_beyond_the_named_length_decide_the_backend(monkeypatch):
    seen = []
    real = attention.choose_backend
    monkeypatch.setattr(
        "pretrain.model.encoder.choose_backend",
        lambda *arguments: seen.append(real(*arguments)) or seen[-1],
    )
    model = random_model(tiny(position="rope", layers=1)).eval()
    for length in (20, 600):
        model.encode(random_batch((length,)))
    assert seen == ["eager", "sdpa"]
