"""What a base model needs of a machine, of the time and of the texts: a model that does not fit says so in numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2m.catalog.models import LocalModel, local_models, rank_local
from p2m.catalog.needs import (
    Conditions,
    Texts,
    context_of,
    epoch_seconds,
    estimated_tokens,
    frozen_bytes,
    full_bytes,
    judge,
    shape_of,
)
from p2m.machine import Machine, memory_free, this_machine
from p2m.task.spec import TaskSpec
from tests.test_catalog_models import make

BASE = shape_of(110, {"hidden_size": 768, "num_hidden_layers": 12, "vocab_size": 30522})
TASK = TaskSpec(name="t", instruction="x", kind="classify", labels=("a", "b"))


def test_word_embeddings_do_not_train_and_cost_no_time() -> None:
    multilingual = shape_of(278, {"hidden_size": 768, "num_hidden_layers": 12, "vocab_size": 250_002})
    assert multilingual.body == pytest.approx(86e6, rel=0.01) and BASE.body == pytest.approx(86.6e6, rel=0.01)
    machine, texts = Machine(flops=1e11), Texts.of(["word " * 40])
    assert epoch_seconds(multilingual, 100, texts, machine) == pytest.approx(
        epoch_seconds(BASE, 100, texts, machine), rel=0.02
    )
    # Its 168M more parameters are held three times, but have neither gradients nor moments.
    assert full_bytes(multilingual) - full_bytes(BASE) == pytest.approx(168e6 * 12, rel=0.02)


def test_memory_that_is_too_small_is_told_with_both_numbers() -> None:
    frozen, full = frozen_bytes(BASE), full_bytes(BASE)
    assert 1e9 < frozen < full < 8e9
    roomy = judge(BASE, 512, Conditions(Machine(memory=int(full * 1.1))), fetched=False)
    assert roomy.problem is None and not roomy.late and roomy.notes == ()
    between = judge(BASE, 512, Conditions(Machine(memory=int((frozen + full) / 2))), fetched=False)
    assert between.problem is None and between.late
    assert f"needs {full / 1e9:.1f} GB of memory" in between.notes[0] and "frozen only" in between.notes[0]
    tiny = judge(BASE, 512, Conditions(Machine(memory=500_000_000)), fetched=False)
    assert tiny.problem is not None
    assert f"needs {frozen / 1e9:.1f} GB" in tiny.problem and "0.5 GB are free" in tiny.problem


def test_a_download_needs_its_own_disk() -> None:
    weights = 4 * 110e6
    fits_here = Conditions(Machine(disk=int(weights * 3.5)))
    assert judge(BASE, None, fits_here, fetched=False).problem is None
    problem = judge(BASE, None, fits_here, fetched=True).problem
    assert problem == "its download and the students need 1.8 GB of disk, 1.5 GB are free"


def test_an_epoch_that_cannot_end_in_time_comes_late_with_the_estimate() -> None:
    texts = Texts.of(["word " * 80] * 3)
    given = Conditions(Machine(flops=1e11), texts, rows=5000, seconds=600)
    found = judge(BASE, 512, given, fetched=False)
    assert found.late and found.problem is None
    estimate = epoch_seconds(BASE, 5000, texts, given.machine)
    assert estimate is not None and estimate > 600
    assert f"an epoch on 5,000 rows takes about {estimate:,.0f} s here, 600 s are left" in found.notes
    assert not judge(BASE, 512, Conditions(Machine(flops=1e11), texts, rows=5000), fetched=False).late


def test_texts_that_would_be_cut_are_counted() -> None:
    texts = Texts.of(["short", "word " * 100, "word", "x"])
    some = judge(BASE, 64, Conditions(texts=texts), fetched=False)
    assert some.problem is None and some.notes == ("cuts 1 of 4 texts at 64 tokens",)
    most = judge(BASE, 64, Conditions(texts=Texts.of(["word " * 100] * 2 + ["x"])), fetched=False)
    assert most.problem == "it reads 64 tokens and would cut 2 of 3 texts: the texts have up to 125"
    # Nothing reads more than 512 tokens here, so a book is no reason to refuse a model that does.
    assert judge(BASE, 512, Conditions(texts=Texts.of(["word " * 9000])), fetched=False).problem is None


def test_lengths_and_positions() -> None:
    assert estimated_tokens("a" * 40) == 10
    assert estimated_tokens("荷物はどこですか") == 8
    assert context_of({"model_type": "roberta", "max_position_embeddings": 514}) == 512
    assert context_of({"model_type": "bert", "max_position_embeddings": 512}) == 512
    assert context_of({}) is None


def test_a_model_that_has_not_the_time_stands_after_one_that_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P2M_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("P2M_MODELS", str(tmp_path / "models"))
    card = "license: mit\nlanguage: en"
    make(tmp_path / "models", "a/large", card=card, rows=9000)
    make(tmp_path / "models", "a/small", card=card, rows=1000)
    texts = Texts.of(["word " * 80])

    def order(conditions: Conditions | None) -> list[tuple[str, bool, bool]]:
        return [(r.model.id, r.kept, r.late) for r in rank_local(TASK, local_models(), conditions)]

    assert order(None) == [("a/large", True, False), ("a/small", True, False)]
    slow = Conditions(Machine(flops=2e9), texts, rows=1000, seconds=600)
    assert order(slow) == [("a/small", True, False), ("a/large", True, True)]
    poor = Conditions(Machine(memory=590_000_000), texts, rows=1000)
    kept = {r.model.id: r for r in rank_local(TASK, local_models(), poor)}
    assert not kept["a/large"].kept and "0.6 GB are free" in kept["a/large"].why
    assert kept["a/small"].kept


def test_this_machine_is_measured(tmp_path: Path) -> None:
    found = this_machine(tmp_path / "not" / "made" / "yet")
    assert found.memory is not None and 1e7 < found.memory < 1e14 and memory_free() is not None
    assert found.disk is not None and found.disk > 0
    assert found.flops is not None and 1e8 < found.flops < 1e15


def test_the_packs_encoder_has_a_shape(minilm: Path) -> None:
    model: LocalModel = next(m for m in local_models() if m.id == "all-minilm-l6-v2")
    assert model.shape is not None and model.context == 512
    assert (model.shape.hidden, model.shape.layers) == (384, 6)
    assert model.shape.body == pytest.approx(11e6, rel=0.05)
