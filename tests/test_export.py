"""The model card of a delivered folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from huggingface_hub import ModelCard

from p2m.evaluate.intervals import Estimate
from p2m.evaluate.powered import correction
from p2m.export.card import CardFacts, write_card
from p2m.task.spec import TaskSpec
from tests.scripted_run import trust

FACTS = CardFacts(
    name="support tickets",
    instruction="Route a ticket.\n\n```\nto the team\n```",
    labels=("billing", "a `tick` | pipe"),
    language="en",
    base="all-minilm-l6-v2",
    method="full",
    estimate=Estimate("accuracy", 0.84, 0.76, 0.9, 100),
    held_out_source="user",
    baselines=(
        ("majority", Estimate("accuracy", 0.5, 0.4, 0.6, 100)),
        ("a|b", Estimate("accuracy", 0.7, 0.5, 0.8, 40)),
    ),
    rows_by_source={"demonstration": 8, "generated": 300, "dataset:polyai/banking77/train": 92},
    target=0.85,
    truncated=2,
)


def card(folder: Path, facts: CardFacts) -> tuple[dict, str]:
    write_card(folder, facts)
    _, header, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(header), body


def test_the_header_is_what_the_hub_reads(tmp_path: Path) -> None:
    header, _ = card(tmp_path, FACTS)
    assert header["license"] == "apache-2.0" and header["language"] == ["en"]
    assert header["pipeline_tag"] == "text-classification" and header["tags"] == ["p2m"]
    assert header["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    (result,) = ModelCard.load(tmp_path / "README.md").data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_split) == ("accuracy", 0.84, "test")
    assert "0.760 to 0.900, n=100" in result.metric_name


def test_the_text_gives_the_estimate_its_interval_and_its_source(tmp_path: Path) -> None:
    _, body = card(tmp_path, FACTS)
    assert "**accuracy 0.840**, 95% interval 0.760 to 0.900, on 100 sealed test rows (a labelled file" in body
    assert "The target was 0.85." in body
    assert "| majority | 0.500 | 0.400 to 0.600 | 100 |" in body
    assert "400 rows" in body and "- 8: the task's examples" in body
    assert "- 92: from the dataset `polyai/banking77/train`" in body
    assert "75% of its training rows were written by a language model" in body
    assert "2 of 100 test texts were longer" in body
    assert 'pipeline("text-classification"' in body


@pytest.mark.parametrize(
    ("source", "said"),
    [("generated", "no person has seen them"), ("dataset:polyai/banking77", "the dataset polyai/banking77")],
)
def test_a_weaker_source_of_held_out_rows_is_said_plainly(tmp_path: Path, source: str, said: str) -> None:
    _, body = card(tmp_path, replace(FACTS, held_out_source=source))
    assert said in body and "a labelled file" not in body
    assert ("may well be lower" in body) == (source == "generated")


def test_untrusted_words_stay_words(tmp_path: Path) -> None:
    nasty = replace(FACTS, name="x\n---\nlicense: mit\n# y", labels=("a\n# heading", "b"), base="org/unknown")
    header, body = card(tmp_path, nasty)
    assert "license" not in header and "base_model" not in header
    assert "\n# heading" not in body and "\n# y" not in body and "a \\| b" not in body
    assert all(line.startswith(">") for line in body.splitlines() if "to the team" in line)
    assert "| a\\|b | 0.700" in body


def test_facts_come_from_the_task_the_experiment_and_the_delivery() -> None:
    task = TaskSpec(name="t", instruction="Do.", kind="classify", labels=("a", "b"), target=0.9, language="de")
    score = {"metric": "macro_f1", "value": 0.5, "low": 0.4, "high": 0.6, "n": 50, "split": "test"}
    delivered = {
        "test": score,
        "held_out": {"source": "generated"},
        "baselines": [{"system": "majority", "score": score, "is_llm": False}],
        "rows_by_source": {"generated": 10},
        "truncated": 1,
    }
    facts = CardFacts.of(task, SimpleNamespace(base="all-minilm-l6-v2", method="frozen"), delivered)
    assert facts.estimate == Estimate("macro_f1", 0.5, 0.4, 0.6, 50) == facts.baselines[0][1]
    assert (facts.language, facts.target, facts.truncated, facts.method) == ("de", 0.9, 1, "frozen")


def test_the_card_says_how_far_to_trust_an_answer(tmp_path: Path) -> None:
    _, plain = card(tmp_path, FACTS)
    assert "How far to trust" not in plain
    told = CardFacts.of(
        TaskSpec(name="t", instruction="Do.", kind="classify", labels=("a", "b")),
        SimpleNamespace(base="all-minilm-l6-v2", method="frozen"),
        {
            "test": {**FACTS.estimate.as_dict(), "split": "test"},
            "held_out": {"source": "user"},
            "baselines": [],
            "rows_by_source": {"generated": 10},
            **trust(),
        },
    )
    _, body = card(tmp_path, told)
    assert "Logits are divided by 0.62, a temperature fitted on validation, in the weights themselves" in body
    assert "Answers less probable than 0.71" in body
    assert "On long (from 45) inputs it scores clearly lower: accuracy 0.700" in body
    _, body = card(tmp_path, replace(told, abstention=None))
    assert "No threshold makes the answers above it reliable" in body


def test_the_users_few_rows_lead_the_card_of_a_generated_test(tmp_path: Path) -> None:
    golds = ["a"] * 20
    found = correction("accuracy", golds, ["a"] * 13 + ["b"] * 7, None, (["a"] * 100, ["a"] * 84 + ["b"] * 16))
    header, body = card(tmp_path, replace(FACTS, held_out_source="generated", correction=found))
    (result,) = ModelCard.load(tmp_path / "README.md").data.eval_results
    assert result.metric_value == 0.65 and "n=20" in result.metric_name
    assert "a few rows that the user labelled" in header["model-index"][0]["results"][0]["dataset"]["name"]
    assert "The user's own 20 rows" in body
