"""What this machine is, and how fast it multiplies."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator

import torch

from configs.schema import PrecisionName
from configs.system.version import code_version, package_version
from launch.selfchecks.bench import Bench
from launch.selfchecks.finding import Finding, judged, skipped, told
from pretrain.engine.machine import processor
from pretrain.engine.memory import memory_limit
from pretrain.engine.precision import choose_precision
from pretrain.model.flops import DTYPES, matmul_peak, seconds_per_product
from pretrain.ranks.world import cores

LIBRARIES = ("deepspeed", "transformers", "tokenizers", "numpy")
QUERY = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu"
TOKENS = {"cuda": 65_536, "cpu": 1024}
PREDICTED_SHARE, VOCABULARY = 0.15, 50_304
"""of roberta_base's tokens; its vocabulary, rounded up to a multiple of 128"""
PRODUCT_ERROR = {"fp32": 1e-5, "bf16": 1e-2}
"""of a product of 1,024 terms, relative to its norm; TF32 would be 3e-4"""


def check(bench: Bench) -> Iterator[Finding]:
    """Versions, devices, clocks and links; whether products are right, and how fast they are."""
    yield versions()
    yield from devices(bench)
    yield from nvidia()
    for precision in bench.precisions:
        yield product(bench, precision)
    if len(bench.precisions) == 1:
        yield skipped("products bf16", "this processor has no instructions for bf16")
    for precision in bench.precisions:
        yield from speeds(bench, precision)
    chosen = choose_precision("auto", bench.world, bench.folder / "cache")
    yield told("precision", f"auto: {chosen.name}: {chosen.reason}", precision=chosen.name)


def versions() -> Finding:
    """Of everything that decides results."""
    found = {"code": code_version(), "python": platform.python_version()}
    found["torch"] = torch.__version__
    if torch.cuda.is_available():
        found["CUDA"] = str(torch.version.cuda)
        found["cuDNN"] = str(torch.backends.cudnn.version())
        found["NCCL"] = ".".join(map(str, torch.cuda.nccl.version()))
    found |= {name: package_version(name) for name in LIBRARIES}
    return told("versions", ", ".join(f"{k} {v}" for k, v in found.items()), **found)


def devices(bench: Bench) -> Iterator[Finding]:
    """The processor, and each GPU."""
    name, gigabytes = processor()["processor"], memory_limit(torch.device("cpu")) / 1e9
    text = f"{name}, {cores()} of {os.cpu_count()} cores, {gigabytes:.1f} GB free"
    yield told("processor", text, name=name, cores=cores(), gigabytes=gigabytes)
    if not bench.on_cuda:
        yield skipped("GPUs", "torch sees none")
    for number in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
        text = f"{gpu.name}, capability {gpu.major}.{gpu.minor}, {gpu.multi_processor_count} SMs"
        text += f", {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
        yield told(f"GPU {number}", text, name=gpu.name, free=free, total=total)


def nvidia() -> Iterator[Finding]:
    """Driver, clocks and links, where nvidia-smi tells."""
    if not shutil.which("nvidia-smi"):
        yield skipped("clocks and links", "no nvidia-smi here")
        return
    asked = {
        "clocks": [f"--query-gpu={QUERY}", "--format=csv,noheader"],
        "links": ["topo", "-m"],
    }
    for name, words in asked.items():
        try:
            done = subprocess.run(
                ["nvidia-smi", *words], capture_output=True, text=True, timeout=20, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            yield skipped(name, f"nvidia-smi {words[0]}: {error}")
            continue
        lines = [" ".join(line.split()) for line in done.stdout.splitlines() if line.strip()]
        yield told(name, "; ".join(lines[: torch.cuda.device_count() + 1])[:300], lines=lines)


def product(bench: Bench, precision: PrecisionName) -> Finding:
    """Whether a matrix product is what float64 makes of the same factors."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 1024, generator=generator) for _ in range(2))
    factors = [x.to(bench.device, DTYPES[precision]) for x in (a, b.t())]
    exact = factors[0].double() @ factors[1].double()
    error = ((factors[0] @ factors[1]).double() - exact).norm() / exact.norm()
    bound = PRODUCT_ERROR[precision]
    text = f"relative error {error:.1e} (at most {bound:.0e})"
    return judged(f"products {precision}", bool(error <= bound), text, error=float(error))


def speeds(bench: Bench, precision: PrecisionName) -> Iterator[Finding]:
    """FLOP/s of a large square product, and of those that roberta_base is made of."""
    seconds = 2.0 if bench.on_cuda else 0.5
    square = [matmul_peak(bench.device, precision, seconds)]
    tokens = TOKENS[bench.device.type]
    shapes = {
        "query, key, value": (tokens, 768, 2304),
        "attention's output": (tokens, 768, 768),
        "feed-forward": (tokens, 768, 3072),
        "feed-forward's output": (tokens, 3072, 768),
        "a gradient of weights": (768, tokens, 3072),
        "decoder": (int(PREDICTED_SHARE * tokens), 768, VOCABULARY),
    }
    rates = {name: rate(bench, precision, *shape) for name, shape in shapes.items()}
    square.append(matmul_peak(bench.device, precision, seconds))
    # Other work on the machine makes a measurement too low, never too high.
    peak = max(*square, *rates.values())
    size = 8192 if bench.on_cuda else 1024
    text = f"{peak / 1e12:.3f} TFLOP/s; at {size}^3 {max(square) / 1e12:.3f}"
    yield judged(f"peak {precision}", 0 < peak < float("inf"), text, flops=peak)
    for name, (m, k, n) in shapes.items():
        flops = rates[name]
        text = f"{flops / 1e12:.3f} TFLOP/s, {flops / peak:.0%} of the peak, {m} x {k} x {n}"
        yield told(f"{name}, {precision}", text, flops=flops, share=flops / peak)


def rate(bench: Bench, precision: PrecisionName, m: int, k: int, n: int) -> float:
    """FLOP/s of the product of (m, k) and (k, n), the best of three turns."""
    a, b = (
        torch.randn(*shape, device=bench.device).to(DTYPES[precision]) for shape in ((m, k), (k, n))
    )
    seconds_per_product(a, b, repeats=1)
    best = min(seconds_per_product(a, b, 4 if bench.on_cuda else 1) for _ in range(3))
    return 2 * m * k * n / best
