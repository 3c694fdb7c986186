"""What a training run writes of itself."""

from __future__ import annotations

from configs.schema import ScheduleConfig
from configs.system.run_folder import RunFolder
from pretrain.engine.reporter import PretrainingReporter
from pretrain.optim.schedule import Phase, Schedule
from pretrain.run.log import RunLog
from tests.unit.pretrain.engine.batches import LetterTokenizer

WORDS = {
    "word_bits_per_byte": 2.0,
    "word_unigram_bits_per_byte": 2.5,
    "words": 7.0,
    "words_lost": 0.0,
}


def start_at(step, folder):
    """A start of a run whose last checkpoint is of `step`."""
    schedule = Schedule.make(ScheduleConfig(max_steps=8), [Phase(0, 4, 12)])
    log = RunLog(folder, True, step)
    return PretrainingReporter(log, folder, schedule, LetterTokenizer(), None)


def test_a_start_after_a_kill_at_the_very_end_repeats_no_record(tmp_path):
    first = start_at(0, tmp_path)
    first.baseline(6.0)
    first.heldout(
        8, {"mlm_loss": 5.0, "perplexity": 150.0, "mlm_accuracy": 0.2, "bits_per_byte": 2.0}
    )
    for reporter in (first, start_at(8, tmp_path)):
        reporter.words(8, WORDS)
        reporter.plateau(8)
    kinds = [record["kind"] for record in RunFolder(tmp_path).read_metrics()]
    assert kinds == ["baseline", "heldout", "words", "plateau"]


def test_figures_of_each_source_stand_in_a_line_and_in_the_record(tmp_path, console):
    reporter = start_at(0, tmp_path)
    scores = {"mlm_loss": 5.0, "perplexity": 148.4, "mlm_accuracy": 0.2, "bits_per_byte": 2.0}
    parts = {"mlm_loss/wiki": 4.5, "mlm_accuracy/wiki": 0.25, "mlm_loss/my books": 5.5}
    reporter.heldout(8, scores | parts)
    reporter.words(8, WORDS | {"word_bits_per_byte/wiki": 1.5, "words/wiki": 7.0})
    printed = console.readouterr()
    lines = (printed.out + printed.err).splitlines()
    assert lines[1] == (
        "step      8  held-out by source: wiki loss 4.500, accuracy 25.0%; my books loss 5.500"
    )
    assert lines[3] == "step      8  held-out words by source: wiki bits per byte 1.500"
    assert RunFolder(tmp_path).last_record("heldout")["mlm_loss/my books"] == 5.5


def test_a_run_that_ends_on_the_plateau_says_so_and_what_shortens_it(tmp_path, console):
    reporter = start_at(0, tmp_path)
    reporter.baseline(6.0)
    reporter.heldout(
        8, {"mlm_loss": 5.75, "perplexity": 314.0, "mlm_accuracy": 0.1, "bits_per_byte": 2.0}
    )
    reporter.plateau(8)
    printed = console.readouterr()
    last = (printed.out + printed.err).splitlines()[-1]
    assert "step      8  ends on the plateau, 0.25 nats under the unigram" in last
    assert "model.position=rope" in last and "schedule.warmup_fraction" in last
