"""Local students: what a folder says of itself, and which a task rules out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from p2m.catalog.models import local_models, rank_local, read_model
from p2m.task.spec import StudentLimits, TaskSpec


def make(root: Path, name: str, config: dict[str, Any] | None = None, card: str = "", rows: int = 1000) -> Path:
    import numpy as np
    from safetensors.numpy import save_file

    folder = root / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", **(config or {})}), encoding="utf-8")
    if rows:
        save_file({"w": np.zeros((rows, 1000), dtype=np.float16)}, folder / "model.safetensors")
    if card:
        (folder / "README.md").write_text(f"---\n{card}\n---\n", encoding="utf-8")
    return folder


def task(**limits: Any) -> TaskSpec:
    language = limits.pop("language", "en")
    student = StudentLimits(**limits)
    return TaskSpec(name="t", instruction="x", kind="classify", labels=("a", "b"), language=language, student=student)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("P2M_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("P2M_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_parameters_licence_and_language_are_read_from_the_folder(shelf: Path) -> None:
    make(shelf, "org/small", card="license: MIT\nlanguage: [en, de]", rows=3000)
    (model,) = local_models()
    assert (model.id, model.model_type, model.encoder, model.license) == ("org/small", "bert", True, "mit")
    assert model.parameters_m == pytest.approx(3.0)
    assert model.language == ("en", "de")
    assert model.problem is None


def test_each_rule_drops_with_its_reason(shelf: Path) -> None:
    card = "license: mit\nlanguage: en"
    make(shelf, "org/good", card=card)
    make(shelf, "org/code", {"auto_map": {"AutoModel": "x.py"}}, card)
    make(shelf, "org/pickle", card=card, rows=0)
    (shelf / "org" / "pickle" / "pytorch_model.bin").write_bytes(b"x")
    make(shelf, "org/decoder", {"model_type": "llama"}, card)
    make(shelf, "org/big", card=card, rows=9000)
    make(shelf, "org/closed", card="license: cc-by-nc-4.0\nlanguage: en")
    make(shelf, "org/german", card="license: mit\nlanguage: de")
    make(shelf, "org/broken", card=card)
    (shelf / "org" / "broken" / "model.safetensors").write_bytes(b"\x00" * 64)
    ranked = rank_local(task(max_parameters_m=5, licenses=("mit",)), local_models())
    why = {r.model.id: r.why for r in ranked if not r.kept}
    assert [r.model.id for r in ranked if r.kept] == ["org/good"]
    assert "auto_map" in why["org/code"]
    assert "no safetensors" in why["org/pickle"]
    assert "llama model cannot classify" in why["org/decoder"]
    assert why["org/big"] == "9M parameters; the limit is 5M"
    assert "licence is cc-by-nc-4.0" in why["org/closed"]
    assert "language is de" in why["org/german"]
    assert "not a safetensors file" in why["org/broken"]


def test_the_named_base_comes_first_then_sentence_encoders_then_size(shelf: Path) -> None:
    make(shelf, "a/plain", card="license: mit\nlanguage: en", rows=5000)
    make(shelf, "a/larger", card="license: mit\nlanguage: en", rows=6000)
    sentence = make(shelf, "a/sentence", card="license: mit\nlanguage: en")
    (sentence / "modules.json").write_text("[]", encoding="utf-8")
    order = [r.model.id for r in rank_local(task(), local_models())]
    assert order == ["a/sentence", "a/larger", "a/plain"]
    ranked = rank_local(task(base="a/plain"), local_models())
    assert ranked[0].model.id == "a/plain"
    assert "the task asks for it" in ranked[0].why


def test_the_only_student_stays_in_another_language_with_a_warning(shelf: Path) -> None:
    make(shelf, "a/english", card="license: mit\nlanguage: en")
    (only,) = rank_local(task(language="de"), local_models())
    assert only.kept
    assert "nothing here is made for de" in only.why


def test_the_packs_encoder_is_known(minilm: Path) -> None:
    model = read_model(minilm, "all-minilm-l6-v2", license="apache-2.0", language=("en",))
    assert model.parameters_m == pytest.approx(22.7, abs=0.2)
    assert model.encoder and model.sentence_encoder and model.problem is None
    assert next(m.id for m in local_models()) == "all-minilm-l6-v2"
