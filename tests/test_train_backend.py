"""What a training uses of the machine, chosen without having it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from p2m.train import runtime
from p2m.train.reader import Reader
from p2m.train.runtime import Backend, choose_backend
from p2m.train.student import Student
from p2m.train.tagger import Tagger
from p2m.train.writer import Writer
from tests import tiny_writer
from tests.conftest import ROOT
from tests.tiny_model import LABELS, make_encoder


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ({"cuda": False, "cpu_bf16": True}, Backend("cpu", True, None, True)),
        ({"cuda": False, "cpu_bf16": False, "flash": True}, Backend("cpu", False, None, True)),
        (
            {"cuda": True, "capability": (9, 0), "flash": True, "cpu_bf16": False},
            Backend("cuda", True, "flash_attention_2", True),
        ),
        ({"cuda": True, "capability": (8, 0), "cpu_bf16": False}, Backend("cuda", True, None, True)),
        ({"cuda": True, "capability": (7, 5), "flash": True, "cpu_bf16": True}, Backend("cuda", False, None, True)),
    ],
)
def test_what_is_there_decides(there: dict[str, Any], chosen: Backend) -> None:
    assert choose_backend(**there) == chosen


@pytest.mark.parametrize("kind", ["classify", "extract", "read", "generate"])
def test_flash_attention_is_asked_for_and_done_without_where_the_model_has_it_not(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package transformers refuses: the model is loaded with its own attention."""
    base = tiny_writer.make_writer(tmp_path) if kind == "generate" else make_encoder(tmp_path)
    monkeypatch.setattr(runtime, "backend", lambda: Backend("cpu", False, "flash_attention_2", True))
    asked: list[object] = []
    load = runtime.load_model

    def watched(folder: Path, auto_class: str, **kwargs: Any) -> Any:
        asked.append(kwargs.get("attn_implementation"))
        return load(folder, auto_class, **kwargs)

    monkeypatch.setattr(runtime, "load_model", watched)
    made = {
        "classify": lambda: Student(base, LABELS).encoder,
        "extract": lambda: Tagger(base, LABELS).module,
        "read": lambda: Reader(base, "Which?").module,
        "generate": lambda: Writer(base, "x").model,
    }[kind]()
    assert asked == ["flash_attention_2", None] and made.config._attn_implementation == "sdpa"


STUDENTS = ("classify", "classify:full", "multi_label", "extract", "read", "score")
STUDENTS += ("generate", "generate:lora", "generate:seq2seq")


def test_every_student_trains_on_a_device_that_is_not_the_cpu() -> None:
    """Tensors of two devices, or one that numpy reads where it lies, would end the training as they do on a GPU."""
    command = [sys.executable, "-m", "tests.other_device", *STUDENTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [f["student"] for f in found] == list(STUDENTS)
    assert all(f["device"] == "elsewhere" and len(set(f["answers"])) > 1 for f in found)
