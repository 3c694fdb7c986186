"""Task-adaptive pretraining: MLM on the task's own training texts (Gururangan et al., 2020)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from configs import schema
from configs.finetune_schema import FinetuneConfig
from configs.system.files import write_text
from configs.system.run_folder import RunFolder
from finetune.data.example import AnyExample, TagExample, TextExample
from pretrain.engine.precision import Precision
from pretrain.engine.train import pretrain
from pretrain.ranks.agreement import failing_together
from pretrain.ranks.checksums import require_same
from pretrain.ranks.world import World
from pretrain.run.pretrained import Pretrained, load_pretrained

HELDOUT = 25
"""texts to watch the loss on, at least, where the task has so many to spare"""


def adapt(
    config: FinetuneConfig,
    examples: Sequence[AnyExample],
    pretrained: Pretrained,
    world: World,
    precision: Precision,
) -> Pretrained:
    """The encoder after further pretraining on `examples`, the training split alone, in the
    precision of the fine-tuning.

    The pretraining run lies in `run_dir/adapt`; one that was cut is resumed from its last
    checkpoint.
    """
    folder = RunFolder(Path(config.run_dir)).adapt
    with failing_together(world):
        if world.is_main:
            folder.mkdir(parents=True, exist_ok=True)
            pretrained.tokenizer.save(folder / "vocabulary")
            lines = (line for example in examples for line in texts(example))
            write_text(folder / "texts.txt", "".join(f"{line}\n" for line in lines))
    with failing_together(world):
        recipe = adaptation(config, pretrained, folder)
    engine = replace(recipe.engine, precision=precision.name)
    pretrain(replace(recipe, engine=engine), world)
    with failing_together(world):
        adapted = load_pretrained(str(folder))
    require_same(world, adapted.weights, f"the encoder in {folder}")
    return adapted


def adaptation(config: FinetuneConfig, encoder: Pretrained, folder: Path) -> schema.PretrainConfig:
    """The pretraining run that adapts: one text a document, dynamic masking, no NSP."""
    texts_file = folder / "texts.txt"
    own = schema.SourceConfig(kind="text", path=str(texts_file), documents="line")
    choice, length, size = config.adapt, config.max_length, config.adapt.sequences
    documents = texts_file.read_text(encoding="utf-8").count("\n")
    steps = schema.EvaluationConfig().every_steps
    return schema.PretrainConfig(
        run_dir=str(folder),
        seed=config.seeds[0],
        initial_model=config.model,
        input_format="doc-sentences",
        max_length=length,
        data=schema.DataConfig(
            sources=[own, *choice.sources],
            heldout_fraction=min(0.4, max(0.02, HELDOUT / documents)),
            cache=choice.cache,
        ),
        tokenizer=schema.TokenizerConfig(path=str(folder / "vocabulary")),
        masking=schema.MaskingConfig(probability=choice.masking_probability),
        model=encoder.model,
        batch=schema.BatchConfig(size, min(size, config.batch.micro_sequences)),
        optimizer=replace(schema.OptimizerConfig(), learning_rate=choice.learning_rate),
        schedule=schema.ScheduleConfig(max_epochs=choice.epochs, warmup_fraction=0.06),
        engine=config.engine,
        collective=config.collective,
        checkpoint=schema.CheckpointConfig(every_steps=4 * steps),
        evaluation=schema.EvaluationConfig(every_steps=steps),
        safety=config.safety,
    )


def texts(example: AnyExample) -> Iterator[str]:
    """The texts of an example, each in one line."""
    if isinstance(example, TextExample):
        parts = [example.text, example.pair or ""]
    elif isinstance(example, TagExample):
        parts = [" ".join(example.words)]
    else:
        parts = [example.context, example.question]
    yield from filter(None, (" ".join(text.split()) for text in parts))
