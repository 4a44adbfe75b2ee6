"""What a generator's training uses of the machine, chosen without having it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from p2m.train import runtime, writer
from p2m.train.runtime import Backend, choose_backend
from tests import tiny_writer


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


def test_flash_attention_is_asked_for_and_done_without_where_the_model_has_it_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package transformers refuses: the model is loaded with its own attention."""
    base = tiny_writer.make_writer(tmp_path)
    monkeypatch.setattr(runtime, "backend", lambda: Backend("cpu", False, "flash_attention_2", True))
    asked: list[object] = []
    load = runtime.load_model

    def watched(folder: Path, auto_class: str, **kwargs: Any) -> Any:
        asked.append(kwargs.get("attn_implementation"))
        return load(folder, auto_class, **kwargs)

    monkeypatch.setattr(runtime, "load_model", watched)
    made = writer.Writer(base, "x")
    assert asked == ["flash_attention_2", None] and made.model.config._attn_implementation == "sdpa"
