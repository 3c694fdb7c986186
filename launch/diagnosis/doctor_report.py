"""What doctor found out, for a person and for a program."""

from __future__ import annotations

from dataclasses import asdict

from configs.loader import dump_config
from configs.system.safe_text import visible
from launch.diagnosis.examine import Diagnosis
from launch.diagnosis.gpus import Hardware
from launch.diagnosis.projection import Projection
from pretrain.run.log import duration

GIGA = 10**9


def as_text(diagnosis: Diagnosis, cost_per_gpu_hour: float | None) -> str:
    """The whole report, a dozen lines and two tables."""
    lines = [f"{name:<12}{text}" for name, text in summary(diagnosis, cost_per_gpu_hour).items()]
    checks = [f"  {c.state:<5}{c.name:<14}{visible(c.text)}" for c in diagnosis.checks]
    blocks = ["\n".join(lines), memory_table(diagnosis), "\n".join(["checks", *checks])]
    return "\n\n".join([*blocks, verdict(diagnosis)])


def summary(diagnosis: Diagnosis, cost_per_gpu_hour: float | None) -> dict[str, str]:
    """A line for each question; speed and traffic are those of the last phase."""
    config, hardware, run = diagnosis.config, diagnosis.hardware, diagnosis.projections[-1]
    shape = config.model
    update = f", {run.update_seconds:.3f} s for Muon's update" if run.update_seconds else ""
    return {
        "target": describe_hardware(hardware, config.engine.zero_stage),
        "model": f"{shape.architecture} {shape.layers} x {shape.hidden_size}, "
        f"{diagnosis.parameters:,} parameters",
        "batch": "; ".join(describe_batch(p, hardware.ranks) for p in diagnosis.projections),
        "speed": f"{run.tokens_per_second:,.0f} tokens/s at an MFU of {hardware.mfu:.0%} of "
        f"{hardware.device.peak / 1e12:,.3g} TFLOP/s",
        "step": f"{run.seconds:.3f} s: {run.compute_seconds:.3f} s arithmetic{update}, "
        f"{run.allreduce_seconds:.3f} s all-reduce of which {run.exposed_seconds:.3f} s are waited "
        f"for ({run.allreduce_share:.1%} of the step)",
        "traffic": f"{run.megabytes_sent:,.1f} MB sent per rank and step; "
        f"{describe_ring(hardware)}",
        "duration": describe_duration(diagnosis, cost_per_gpu_hour),
        "disk": f"{diagnosis.checkpoint / GIGA:.2f} GB a checkpoint, "
        f"{config.checkpoint.keep} kept; {diagnosis.disk / GIGA:.1f} GB for the run",
    }


def describe_batch(run: Projection, ranks: int) -> str:
    """The steps of a phase, and a rank's part of them."""
    held = run.sequences / (run.micro_batches_per_rank * ranks)
    begins = f"from step {run.first_step:,} " if run.first_step else ""
    return (
        f"{begins}{run.sequences:,} x {run.max_length} = {run.tokens:,} tokens a step; on each "
        f"rank {run.micro_batches_per_rank} x {held:.4g} x {run.max_length}"
    )


def describe_hardware(hardware: Hardware, zero_stage: int) -> str:
    """How many of what."""
    devices = f"{hardware.ranks} x {hardware.device.name}"
    if hardware.nodes > 1:
        devices += f", {hardware.nodes} nodes of {hardware.ranks_per_node}"
    return f"{devices}, {hardware.precision}, ZeRO {zero_stage}"


def describe_ring(hardware: Hardware) -> str:
    """The cost model's constants and where they are from."""
    if hardware.ranks == 1:
        return "one rank"
    source = "measured" if hardware.measured_ring else "data sheet"
    return (
        f"ring of {hardware.ring.bandwidth / GIGA:,.1f} GB/s, "
        f"{1e6 * hardware.ring.latency:.1f} us a round ({source})"
    )


def describe_duration(diagnosis: Diagnosis, cost_per_gpu_hour: float | None) -> str:
    """Steps, hours, GPU-hours and their price."""
    if diagnosis.hours is None:
        return "unknown before the corpus is there"
    spent = diagnosis.hours * diagnosis.hardware.ranks
    unit = "GPU-hours" if diagnosis.hardware.device.kind == "cuda" else "rank-hours"
    cost, hours = "", duration(3600 * diagnosis.hours)
    if cost_per_gpu_hour is not None:
        cost = f", {spent * cost_per_gpu_hour:,.0f} at {cost_per_gpu_hour:g} each"
    return f"{diagnosis.steps:,.0f} steps, {hours} h:mm:ss, {spent:,.1f} {unit}{cost}"


def memory_table(diagnosis: Diagnosis) -> str:
    """Bytes by part for each ZeRO stage, each part at its largest, and what is there at once."""
    chosen = diagnosis.config.engine.zero_stage
    names = dict.fromkeys(name for parts in diagnosis.parts.values() for name in parts)
    heads = [f"ZeRO {stage}{'*' if stage == chosen else ''}" for stage in diagnosis.parts]
    lines = [f"{'GB per rank, each at its largest':<34}" + "".join(f"{h:>9}" for h in heads)]
    for name in names:
        cells = [parts.get(name, 0.0) for parts in diagnosis.parts.values()]
        if max(cells):
            lines.append(f"  {name:<32}" + "".join(f"{cell / GIGA:>9.2f}" for cell in cells))
    peaks = "".join(f"{peak.total / GIGA:>9.2f}" for peak in diagnosis.peaks.values())
    return "\n".join([*lines, f"  {'peak':<32}{peaks}  when {diagnosis.peaks[chosen].moment}"])


def verdict(diagnosis: Diagnosis) -> str:
    """The last line."""
    failed = [check.name for check in diagnosis.checks if check.state == "fail"]
    if failed:
        return f"verdict: this cannot work: {', '.join(failed)}"
    warnings = sum(check.state == "warn" for check in diagnosis.checks)
    return "verdict: ready" + (f", warnings: {warnings}" if warnings else "")


def as_json(diagnosis: Diagnosis, cost_per_gpu_hour: float | None) -> dict[str, object]:
    """The same for programs; sizes in bytes, times in seconds unless the name says otherwise."""
    hardware = diagnosis.hardware
    spent = None if diagnosis.hours is None else diagnosis.hours * hardware.ranks
    cost = None
    if spent is not None and cost_per_gpu_hour is not None:
        cost = spent * cost_per_gpu_hour
    return {
        "config": dump_config(diagnosis.config),
        "target": {**asdict(hardware), "nodes": hardware.nodes},
        "parameters": diagnosis.parameters,
        "memory": {
            f"zero_{stage}": {"parts": parts, "peak": peak.total, "moment": peak.moment}
            for (stage, parts), peak in zip(diagnosis.parts.items(), diagnosis.peaks.values())
        },
        "phases": [
            {
                **asdict(run),
                "seconds": run.seconds,
                "tokens_per_second": run.tokens_per_second,
                "allreduce_share": run.allreduce_share,
            }
            for run in diagnosis.projections
        ],
        "steps": diagnosis.steps,
        "hours": diagnosis.hours,
        "gpu_hours": spent,
        "cost": cost,
        "checkpoint_bytes": diagnosis.checkpoint,
        "disk_bytes": diagnosis.disk,
        "checks": [asdict(check) for check in diagnosis.checks],
        "works": diagnosis.works,
    }
