"""What ``p2m eval`` computes and shows, on a real classifier that says the same of everything."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest

from agent.eval_table import Evaluation, evaluation, print_evaluation
from p2m.errors import BadInput
from p2m.evaluate.intervals import Estimate, wilson
from p2m.evaluate.metrics import LabelScore
from p2m.task.spec import TaskSpec
from tests.tiny_model import LABELS, make_encoder

TASK = TaskSpec(
    name="things",
    instruction="Say what it is.",
    kind="classify",
    labels=LABELS,
    metric="macro_f1",
    input_column="body",
    output_column="what",
)
LONG = " ".join(["apple"] * 200)


@pytest.fixture(scope="module")
def always_fruit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A delivered folder whose head has no weights and a bias for the first label."""
    import torch
    from transformers import AutoModelForSequenceClassification

    folder = make_encoder(tmp_path_factory.mktemp("model") / "model")
    names = dict(enumerate(LABELS))
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3, id2label=names)
    torch.nn.init.zeros_(model.classifier.weight)
    with torch.no_grad():
        model.classifier.bias.copy_(torch.tensor([2.0, 0.0, 0.0]))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def result(always_fruit: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Six fruits (one of them long), three tools, one animal."""
    texts = [("apple", "fruit")] * 5 + [(LONG, "Fruit"), *[("saw", "tool")] * 3, ("cow", "animal")]
    file = tmp_path_factory.mktemp("data") / "rows.jsonl"
    file.write_text("".join(json.dumps({"body": text, "what": label, "id": 7}) + "\n" for text, label in texts))
    return evaluation(always_fruit, TASK, str(file))


def test_scores_are_those_of_the_predictions(result: Evaluation) -> None:
    by_name = {e.metric: e for e in result.estimates}
    assert list(by_name) == ["macro_f1", "accuracy"], "the task's metric first, each once"
    assert by_name["accuracy"].value == pytest.approx(0.6)
    assert (by_name["accuracy"].low, by_name["accuracy"].high) == pytest.approx(wilson(6, 10))
    # Fruit has precision 6/10 and recall 1, so F1 0.75; the others are never predicted.
    assert by_name["macro_f1"].value == pytest.approx(0.75 / 3)
    assert by_name["macro_f1"].low <= 0.25 <= by_name["macro_f1"].high
    assert [(s.label, s.recall, s.support) for s in result.per_label] == [
        ("fruit", 1.0, 6),
        ("tool", 0.0, 3),
        ("animal", 0.0, 1),
    ]
    assert result.confusions == (("fruit", "fruit", 6), ("tool", "fruit", 3), ("animal", "fruit", 1))
    assert (result.n, result.truncated) == (10, 1)
    # Logits of 2, 0, 0 on every row: as sure of each fruit, right on six of ten.
    assert result.ece == pytest.approx(math.exp(2) / (math.exp(2) + 2) - 0.6)


def test_json_holds_all_of_it(result: Evaluation) -> None:
    told = json.loads(json.dumps(result.as_dict()))
    assert told["metric"] == "macro_f1"
    assert told["estimates"]["accuracy"]["n"] == 10
    assert told["per_label"][0]["precision"] == pytest.approx(0.6)
    assert sum(count for _, _, count in told["confusions"]) == told["n"] == 10


def test_the_columns_of_the_task_are_used_only_where_the_file_has_them(always_fruit: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("text,label\napple,fruit\nsaw,tool\n")
    assert evaluation(always_fruit, TASK, str(other)).estimates[1].value == 0.5
    with pytest.raises(BadInput, match="no column 'body'"):
        evaluation(always_fruit, TASK, str(other), input_column="body")


def test_a_file_that_the_run_had_is_no_fresh_evidence(always_fruit: Path, tmp_path: Path) -> None:
    file = tmp_path / "held.csv"
    file.write_text("text,label\napple,fruit\nsaw,tool\n")
    had = evaluation(always_fruit, TASK.model_copy(update={"validation": str(file)}), str(file))
    assert "the run had this file to choose the model by" in printed(had)
    assert "the run had" not in printed(evaluation(always_fruit, TASK, str(file)))


def test_a_label_the_model_does_not_know_is_refused(always_fruit: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("text,label\napple,fruit\nsaw,tool\ncar,vehicle\n")
    with pytest.raises(BadInput, match=r"wrong.csv:4: 'vehicle'"):
        evaluation(always_fruit, TASK, str(wrong))


def printed(result: Evaluation) -> str:
    stream = io.StringIO()
    print_evaluation(result, stream)
    return stream.getvalue()


def test_a_few_labels_are_shown_as_a_matrix(result: Evaluation) -> None:
    lines = [line.split() for line in printed(result).splitlines()]
    assert ["macro_f1", "0.250"] in [line[:2] for line in lines]
    assert ["tool", "0.000", "0.000", "0.000", "3"] in lines
    assert ["tool", "3", "·", "·"] in lines
    assert "1 of the texts are longer" in printed(result)
    assert "\x1b" not in printed(result)


def test_a_label_without_rows_is_no_failure(always_fruit: Path, tmp_path: Path) -> None:
    file = tmp_path / "few.csv"
    file.write_text("text,label\napple,fruit\npear,fruit\nsaw,tool\n")
    found = evaluation(always_fruit, TASK, str(file))
    assert found.estimates[0].value == pytest.approx((0.8 + 0) / 2), "the mean over the two labels that are there"
    lines = [line.split() for line in printed(found).splitlines()]
    assert ["animal", "–", "–", "–", "0"] in lines and ["tool", "0.000", "0.000", "0.000", "1"] in lines


def many_labels(wrong: int) -> Evaluation:
    labels = [f"intent [{i:02}]" for i in range(40)]
    pairs = [(labels[i], labels[i + 1], 30 - i) for i in range(wrong)]
    scores = tuple(LabelScore(label, 0.9, 0.9, 0.9, 50) for label in labels)
    return Evaluation("rows.csv", 2000, (Estimate("accuracy", 0.9, 0.88, 0.92, 2000),), scores, tuple(pairs), 0)


def test_many_labels_are_shown_as_the_most_frequent_confusions() -> None:
    shown = printed(many_labels(20))
    assert "the 15 most frequent confusions of 20" in shown
    assert ["intent", "[00]", "intent", "[01]", "30", "50"] in [line.split() for line in shown.splitlines()]
    assert "intent [15]   intent [16]" not in shown and "longer than" not in shown


def test_a_perfect_model_has_no_confusions() -> None:
    assert "no row was answered wrongly" in printed(many_labels(0))


def test_probabilities_and_parts_are_shown(always_fruit: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    texts = [*["pear,fruit"] * 20, *["apple and apple,fruit"] * 20, *["saw and hammer and a drill,tool"] * 20]
    file.write_text("text,label\n" + "\n".join(texts) + "\n")
    found = evaluation(always_fruit, TASK.model_copy(update={"metric": "accuracy"}), str(file))
    assert [(s.estimate.value, s.low) for s in found.slices] == [(1, False), (1, False), (0, True)]
    shown = printed(found)
    assert "ECE" in shown and "clearly below the whole" in shown
    assert json.loads(json.dumps(found.as_dict()))["slices"][2]["low"] is True


def test_a_label_sets_calibration_is_that_of_each_label(tmp_path: Path) -> None:
    """Every label has the probability 0.5; a third of them are right."""
    import torch
    from transformers import AutoModelForSequenceClassification

    folder = make_encoder(tmp_path / "model")
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=3, id2label=dict(enumerate(LABELS)), problem_type="multi_label_classification"
    )
    for each in model.classifier.parameters():
        torch.nn.init.zeros_(each)
    model.save_pretrained(folder)
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"text": f"apple {k}", "labels": [k]}) + "\n" for k in LABELS))
    task = TaskSpec(
        name="t", instruction="Say all.", kind="classify", multi_label=True, labels=LABELS, metric="micro_f1"
    )
    assert evaluation(folder, task, str(file)).ece == pytest.approx(0.5 - 1 / 3)


def test_written_answers_that_were_cut_are_told(tmp_path: Path) -> None:
    from tests import tiny_writer

    folder = tiny_writer.make_writer(tmp_path / "model")
    (folder / "generation_config.json").write_text(json.dumps({"max_new_tokens": 3, "eos_token_id": 1}))
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"input": r.input, "output": r.output}) + "\n" for r in tiny_writer.rows(6, 0)))
    found = evaluation(folder, TaskSpec(name="t", instruction="x", kind="generate", metric="chrf"), str(file))
    assert 0 < found.unfinished <= 6
    stream = io.StringIO()
    print_evaluation(found, stream)
    assert f"{found.unfinished} of the answers were cut" in stream.getvalue()
