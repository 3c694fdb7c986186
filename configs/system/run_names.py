"""What lies in a run folder, and under which name: this module alone spells the names.

    <run_dir>/
        config.yaml         the resolved configuration
        environment.json    what was decided, from what, with which versions, and each start
        status              one word of `run_folder.WORDS`
        lock                who works on it (`run_lock.py`)
        REQUEUE             asks the job script to queue the run again: `<step> <reason>`
        metrics.jsonl       what was measured, one record a line
        tensorboard/        the same as events
        plots/curves.png    the same as a picture
        dumps/              what ranks saw in skipped steps; stacks of a rank that hung
        tokenizer/
        checkpoints/        step-00000500/ and others: `pretrain/run/checkpoint.py`
        export/             the trained model in Hugging Face's layout, with SHA256SUMS

A run of fine-tuning has, beside or instead of them,

        adapt/              the pretraining run that adapts the encoder, a run folder of its own
        trials/<name>/      metrics.jsonl, predictions.csv and result.json of one trial
        checkpoints/best/   the best trial's model: model.safetensors, finetuned.json, tokenizer/,
                            SHA256SUMS
        predictions.csv     its answers
        scores.json         of all trials; in unmerged/ those of the task with all its labels
        report.md           with plots/

and one that was submitted to a cluster what its job needs: job.yaml, job.sbatch (array.sbatch for
an array of jobs), job.id, code/, logs/.
"""

from __future__ import annotations

CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
STATUS = "status"
LOCK = "lock"
REQUEUE = "REQUEUE"
METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
PLOTS = "plots"
CURVES = "curves.png"
DUMPS = "dumps"
TOKENIZER = "tokenizer"
CHECKPOINTS = "checkpoints"
STEP = "step-"
"""before the number, of eight digits, in a checkpoint's name"""
EXPORT = "export"
WEIGHTS = "model.safetensors"
HASHES = "SHA256SUMS"
"""of the other files of a model's folder: `folder_hashes.py`"""

ADAPT = "adapt"
TRIALS = "trials"
RESULT = "result.json"
BEST = "best"
CARD = "finetuned.json"
PREDICTIONS = "predictions.csv"
SCORES = "scores.json"
UNMERGED_FOLDER = "unmerged"
REPORT = "report.md"

JOB_CONFIG = "job.yaml"
JOB_SCRIPT = "job.sbatch"
ARRAY_SCRIPT = "array.sbatch"
JOB_ID = "job.id"
JOB_CODE = "code"
JOB_LOGS = "logs"
