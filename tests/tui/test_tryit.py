"""Try it: a delivered model of each kind answers, and its answer is drawn."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from agent.tryout import main
from agent.tui.tryit import shown
from p2m.evaluate.predict import load_predictor
from p2m.rows import Row, write_rows
from tests.delivered_kinds import KINDS, delivered_kind, texts_of


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_each_kind_is_tried(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = delivered_kind(tmp_path / "run", tmp_path / "base", kind)
    text, other = texts_of(kind)[:2]
    expected = load_predictor(run / "model").predict([text])[0].output
    write_rows(run / "train.jsonl", [Row(other, expected, "generated"), Row(text, expected, "generated")])
    monkeypatch.setattr(
        "p2m.catalog.embedding.default_embed", lambda: lambda texts: np.array([[float(t == text), 0.5] for t in texts])
    )
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(text) + "\n"))
    assert main([str(run)]) == 0
    ready, first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert ready["kind"] == kind and shown("", ready).plain.startswith("ready: it ")
    assert first["nearest"] is None and second["output"] == expected
    assert [near["text"] for near in second["nearest"]] == [text, other]
    drawn = shown(text, second, ready["scale"]).plain
    assert "nearest training rows" in drawn and "written by the teacher" in drawn
    for span in second["spans"]:
        assert text[span["start"] : span["end"]] == span["text"] and f"[{span['text']}]" in drawn
    assert kind not in ("score", "generate") or expected in drawn
