"""From words to a task: what is understood, what is asked back, what an edit may not do."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.chat import Chat, Question, Ready, Unclear, edited, example_lines
from p2m.errors import BadInput
from p2m.task.spec import TaskSpec

WORDS = "Say whether a review of a film is positive or negative."
EXAMPLES = "lovely film => positive\nwhat a bore => negative"


def ready(reply: object) -> TaskSpec:
    assert isinstance(reply, Ready), reply
    return reply.task


def test_words_with_examples_are_a_task_at_once() -> None:
    task = ready(Chat().hear(f"{WORDS} At least 80% accuracy.\n\n{EXAMPLES}"))
    assert set(task.labels) == {"positive", "negative"} and task.target == 0.8 and task.metric == "accuracy"
    assert [(e.input, e.output) for e in task.examples] == [("lovely film", "positive"), ("what a bore", "negative")]


def test_a_vague_task_gets_two_questions_and_no_more() -> None:
    chat = Chat()
    first = chat.hear("Sort the messages that our customers send us.")
    assert isinstance(first, Question) and first.about == "labels"
    second = chat.hear("billing, bug, or how_to")
    assert isinstance(second, Question) and second.about == "examples"
    task = ready(chat.hear(""))
    assert task.labels == ("billing", "bug", "how_to") and not task.examples


def test_who_says_no_more_is_read_by_a_model() -> None:
    chat = Chat()
    chat.hear("Do something useful with my mail.")
    assert isinstance(chat.hear(""), Unclear)


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_a_pasted_table_is_read_as_examples(delimiter: str) -> None:
    rows = [("text", "label"), ("lovely", "positive"), ("so bad", "negative"), ("great fun", "positive")]
    table = "\n".join(delimiter.join(row) for row in rows)
    task = ready(Chat().hear(f"{WORDS}\n\n{table}"))
    assert [e.input for e in task.examples] == ["lovely", "so bad", "great fun"]


def test_sentences_with_commas_are_no_table() -> None:
    task = Chat()
    task.hear("Say what it is, please.\nIt is mail, mostly.\nBe strict, always.")
    assert task.source.startswith("Say what it is, please.")


def test_a_dropped_file_of_few_rows_is_examples_and_of_many_is_training_data(tmp_path: Path) -> None:
    few, many = tmp_path / "my few.csv", tmp_path / "many.csv"
    few.write_text("text,label\n" + "".join(f"text {n},{'positive' if n % 2 else 'negative'}\n" for n in range(6)))
    many.write_text("text,label\n" + "".join(f"text {n},{'positive' if n % 2 else 'negative'}\n" for n in range(90)))
    chat = Chat()
    chat.hear(WORDS)
    assert len(ready(chat.hear(f"'{few}'")).examples) == 6
    chat = Chat()
    chat.hear(WORDS)
    assert ready(chat.hear(str(many).replace(" ", "\\ "))).train == str(many)


def test_a_file_without_a_word_of_what_to_do_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\na,b\nc,d\n")
    chat = Chat()
    with pytest.raises(BadInput, match="what is to be done"):
        chat.hear(str(rows))
    assert ready(chat.hear(f"{WORDS}\n{EXAMPLES}")).labels


def test_a_dropped_task_file_is_the_task() -> None:
    from tests.conftest import ROOT

    task = ready(Chat().hear(f"{ROOT}/examples/question-type.md "))
    assert task.name == "question-type" and len(task.examples) == 24


def test_the_card_can_change_every_field_and_says_what_is_wrong() -> None:
    task = ready(Chat().hear(f"{WORDS}\n{EXAMPLES}"))
    changed = edited(
        task, task.instruction, example_lines(task), labels=("positive", "negative", "mixed"), target="0.7"
    )
    assert changed.labels[-1] == "mixed" and changed.target == 0.7 and changed.examples == task.examples
    with pytest.raises(BadInput, match="not among"):
        edited(task, task.instruction, example_lines(task), labels=("good", "bad"))
    with pytest.raises(BadInput, match="no metric"):
        edited(task, task.instruction, example_lines(task), metric="chrf")


def test_what_an_edit_does_not_name_stays() -> None:
    rated = TaskSpec(name="t", instruction="Rate it.", kind="score", scale=(1, 5), metric="spearman")
    assert edited(rated, "Rate it well.", "fine => 4").scale == (1, 5)
    sets = TaskSpec(name="t", instruction="Label it.", kind="classify", labels=("a", "b"), multi_label=True)
    assert edited(sets, sets.instruction, "").multi_label
    assert not edited(sets, sets.instruction, "", several=False).multi_label
    again = edited(
        sets, sets.instruction, "x => 4", kind="score", labels=(), metric=None, several=False, scale="1 to 7"
    )
    assert again.kind == "score" and again.scale == (1, 7) and again.metric == "spearman"


def test_label_sets_survive_the_card_and_the_chat() -> None:
    lines = 'it fails => ["bug", "billing"]\nall is well => []\nwhere is it => ["how_to"]'
    sets = TaskSpec(
        name="t", instruction="Label it.", kind="classify", labels=("bug", "billing", "how_to"), multi_label=True
    )
    task = edited(sets, sets.instruction, lines)
    assert [e.output for e in task.examples] == ['["bug", "billing"]', "[]", '["how_to"]']
    assert edited(task, task.instruction, example_lines(task)).examples == task.examples
    said = ready(Chat().hear(f"Say which labels a message has.\n\n{lines}"))
    assert said.multi_label and len(said.examples) == 3


def test_a_line_that_is_no_example_is_named() -> None:
    task = ready(Chat().hear(f"{WORDS}\n{EXAMPLES}"))
    with pytest.raises(BadInput, match="line 2 is no example: only words"):
        edited(task, task.instruction, "fine => positive\nonly words")


def test_examples_with_arrows_and_line_breaks_survive_the_card() -> None:
    task = ready(Chat().hear(f"{WORDS}\n{EXAMPLES}"))
    odd = task.examples[0].model_copy(update={"input": "a -> b\nand => c"})
    task = task.model_copy(update={"examples": (odd, task.examples[1])})
    assert edited(task, task.instruction, example_lines(task)).examples == task.examples
