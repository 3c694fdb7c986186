"""Which packages the embedded corpus reads: a pinned list, so that text does not depend on taste.

The list is the closure of the core requirements in setup.cfg: what every installation of this
project has, whatever else its user installs. A developer tool, an extra, or the CUDA packages of
another platform change neither text nor identity; the versions of what is listed do both.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pretrain.text.sentences import word_set

LISTED = word_set(
    """
    absl-py annotated-types anyio charset-normalizer click cloudpickle contourpy cycler datasets
    deepspeed dill einops emoji filelock flatbuffers fonttools fsspec gensim grpcio h11 hf-xet hjson
    httpcore2 httpx2 huggingface-hub idna jinja2 joblib kiwisolver markdown markupsafe matplotlib
    ml-dtypes mpmath msgpack multiprocess narwhals networkx ninja numpy omegaconf onnx onnxruntime
    packaging pandas pillow protobuf psutil py-cpuinfo pyarrow pydantic pydantic-core pyparsing
    python-dateutil pyyaml safetensors scikit-learn scipy sentencepiece seqeval setuptools
    smart-open sympy tensorboard tensorboard-data-server threadpoolctl tokenizers torch tqdm
    truststore typing-extensions typing-inspection tzdata werkzeug wrapt xxhash zstandard
    """
)
"""names in the form of PEP 503; what only one platform or Python version asks for is left out.
Changing the list makes another corpus: raise HARVESTER_VERSION"""

PACKAGED_APART = word_set("idlelib tkinter turtle turtledemo lib2to3 distutils ensurepip")
"""parts of the standard library that Linux distributions leave to packages of their own"""

LIBRARY_MODULES = sys.stdlib_module_names - PACKAGED_APART


class RecordedFile(NamedTuple):
    """A row of a distribution's RECORD."""

    name: PurePosixPath
    """from the folder in which the distribution lies"""
    path: Path
    hash: str
    """as `sha256=...`, in URL-safe base64 without padding; empty where none is recorded"""


def find_distributions() -> dict[str, Distribution | None]:
    """The distribution of each listed name that Python would import; None where there is none.

    None as well for those whose files are nowhere recorded: editable installations and those of a
    system's package manager, of which nobody can say which text is theirs.
    """
    return {name: _find(name) for name in sorted(LISTED)}


def _find(name: str) -> Distribution | None:
    candidates = list(distributions(name=name))
    # Two in one folder are what a broken update leaves; their order in it means nothing.
    beside = [each for each in candidates if each.locate_file("") == candidates[0].locate_file("")]
    chosen = max(beside, key=lambda each: str(each.metadata["Version"]), default=None)
    return chosen if chosen and _is_whole(chosen) else None


def _is_whole(distribution: Distribution) -> bool:
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    is_editable = origin.get("dir_info", {}).get("editable", False)
    has_record = bool(distribution.read_text("RECORD"))
    return has_record and bool(distribution.metadata["Version"]) and not is_editable


def recorded_files(distribution: Distribution) -> list[RecordedFile]:
    """The files of a distribution by its RECORD, sorted: what else lies there is not its own.

    `Distribution.files` drops files that are missing, in some versions of Python, without a word.
    """
    rows = csv.reader((distribution.read_text("RECORD") or "").splitlines())
    names = sorted((PurePosixPath(row[0]), row[1]) for row in rows if len(row) > 1)
    return [RecordedFile(n, Path(str(distribution.locate_file(n))), h) for n, h in names]


def read_recorded(file: RecordedFile) -> bytes | None:
    """Its content; None where it cannot be read or is not what was installed."""
    try:
        content = file.path.read_bytes()
    except OSError:
        return None
    algorithm, _, recorded = file.hash.partition("=")
    if algorithm not in hashlib.algorithms_guaranteed:
        return content
    digest = base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest())
    return content if digest.rstrip(b"=").decode() == recorded else None
