"""What doctor found, for a person and for a program."""

from __future__ import annotations

from dataclasses import asdict

from configs.loader import dump_config
from configs.system.safe_text import visible
from launch.diagnosis.examine import Findings
from launch.diagnosis.gpus import Target
from launch.diagnosis.projection import Projection, checkpoint_bytes
from pretrain.run.log import duration

GIGA = 10**9


def as_text(found: Findings, cost_per_gpu_hour: float | None) -> str:
    """The whole report, a dozen lines and two tables."""
    lines = [f"{name:<12}{text}" for name, text in summary(found, cost_per_gpu_hour).items()]
    checks = [f"  {row.state:<5}{row.name:<14}{visible(row.text)}" for row in found.rows]
    return "\n".join([*lines, "", memory_table(found), "", "checks", *checks, "", verdict(found)])


def summary(found: Findings, cost_per_gpu_hour: float | None) -> dict[str, str]:
    """A line for each question; speed and traffic are those of the last phase."""
    config, target, run = found.config, found.target, found.last
    shape = config.model
    saved = checkpoint_bytes(found.parameters)
    return {
        "target": describe_target(target, config.engine.zero_stage),
        "model": f"{shape.architecture} {shape.layers} x {shape.hidden_size}, "
        f"{found.parameters:,} parameters",
        "batch": "; ".join(describe_batch(p, target.ranks) for p in found.projections),
        "speed": f"{run.tokens_per_second:,.0f} tokens/s at an MFU of {target.mfu:.0%} of "
        f"{target.device.peak / 1e12:,.3g} TFLOP/s",
        "step": f"{run.seconds:.3f} s: {run.compute_seconds:.3f} s arithmetic, "
        f"{run.allreduce_seconds:.3f} s all-reduce of which {run.exposed_seconds:.3f} s are waited "
        f"for ({run.allreduce_share:.1%} of the step)",
        "traffic": f"{run.megabytes_sent:,.1f} MB sent per rank and step; {describe_ring(target)}",
        "duration": describe_duration(found, cost_per_gpu_hour),
        "disk": f"{saved / GIGA:.2f} GB a checkpoint, {config.checkpoint.keep} kept; "
        f"{found.disk / GIGA:.1f} GB for the run",
    }


def describe_batch(run: Projection, ranks: int) -> str:
    """The steps of a phase, and a rank's part of them."""
    held = run.sequences / (run.micro_batches_per_rank * ranks)
    begins = f"from step {run.first_step:,} " if run.first_step else ""
    return (
        f"{begins}{run.sequences:,} x {run.max_length} = {run.tokens:,} tokens a step; on each "
        f"rank {run.micro_batches_per_rank} x {held:.4g} x {run.max_length}"
    )


def describe_target(target: Target, zero_stage: int) -> str:
    """How many of what."""
    nodes = f", {target.nodes} nodes of {target.ranks_per_node}" if target.nodes > 1 else ""
    return f"{target.ranks} x {target.device.name}{nodes}, {target.precision}, ZeRO {zero_stage}"


def describe_ring(target: Target) -> str:
    """The cost model's constants and where they are from."""
    if target.ranks == 1:
        return "one rank"
    source = "measured" if target.measured_ring else "data sheet"
    return (
        f"ring of {target.ring.bandwidth / GIGA:,.1f} GB/s, "
        f"{1e6 * target.ring.latency:.1f} us a round ({source})"
    )


def describe_duration(found: Findings, cost_per_gpu_hour: float | None) -> str:
    """Steps, hours, GPU-hours and their price."""
    if found.hours is None:
        return "unknown before the corpus is there"
    spent = found.hours * found.target.ranks
    unit = "GPU-hours" if found.target.device.kind == "cuda" else "rank-hours"
    cost, hours = "", duration(3600 * found.hours)
    if cost_per_gpu_hour is not None:
        cost = f", {spent * cost_per_gpu_hour:,.0f} at {cost_per_gpu_hour:g} each"
    return f"{found.steps:,.0f} steps, {hours} h:mm:ss, {spent:,.1f} {unit}{cost}"


def memory_table(found: Findings) -> str:
    """Bytes by part for each ZeRO stage, each part at its largest, and what is there at once."""
    chosen = found.config.engine.zero_stage
    names = dict.fromkeys(name for parts in found.parts.values() for name in parts)
    heads = [f"ZeRO {stage}{'*' if stage == chosen else ''}" for stage in found.parts]
    lines = [f"{'GB per rank, each at its largest':<34}" + "".join(f"{h:>9}" for h in heads)]
    for name in names:
        cells = [parts.get(name, 0.0) for parts in found.parts.values()]
        if max(cells):
            lines.append(f"  {name:<32}" + "".join(f"{cell / GIGA:>9.2f}" for cell in cells))
    peaks = "".join(f"{peak.total / GIGA:>9.2f}" for peak in found.peaks.values())
    return "\n".join([*lines, f"  {'peak':<32}{peaks}  when {found.peaks[chosen].moment}"])


def verdict(found: Findings) -> str:
    """The last line."""
    counts = {state: sum(row.state == state for row in found.rows) for state in ("warn", "fail")}
    if counts["fail"]:
        names = ", ".join(row.name for row in found.rows if row.state == "fail")
        return f"verdict: this cannot work: {names}"
    warnings = f", warnings: {counts['warn']}" if counts["warn"] else ""
    return f"verdict: ready{warnings}"


def as_json(found: Findings, cost_per_gpu_hour: float | None) -> dict[str, object]:
    """The same for programs; sizes in bytes, times in seconds unless the name says otherwise."""
    target = found.target
    spent = None if found.hours is None else found.hours * target.ranks
    cost = None
    if spent is not None and cost_per_gpu_hour is not None:
        cost = spent * cost_per_gpu_hour
    return {
        "config": dump_config(found.config),
        "target": {**asdict(target), "nodes": target.nodes},
        "parameters": found.parameters,
        "memory": {
            f"zero_{stage}": {"parts": parts, "peak": peak.total, "moment": peak.moment}
            for (stage, parts), peak in zip(found.parts.items(), found.peaks.values())
        },
        "phases": [
            {
                **asdict(run),
                "seconds": run.seconds,
                "tokens_per_second": run.tokens_per_second,
                "allreduce_share": run.allreduce_share,
            }
            for run in found.projections
        ],
        "steps": found.steps,
        "hours": found.hours,
        "gpu_hours": spent,
        "cost": cost,
        "checkpoint_bytes": checkpoint_bytes(found.parameters),
        "disk_bytes": found.disk,
        "checks": [asdict(row) for row in found.rows],
        "works": found.works,
    }
