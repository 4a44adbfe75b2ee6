"""Kind, labels and metric where the user did not say them."""

from __future__ import annotations

import pytest

from p2m.errors import BadInput
from p2m.task.infer import infer_metric, is_choice, is_copied
from p2m.task.parse import NeedsLLM, Overrides, load_task
from p2m.task.phrases import labels_said
from p2m.task.spec import TaskSpec


def spec(source: str, **overrides: object) -> TaskSpec:
    task = load_task(source, overrides=Overrides(**overrides))  # type: ignore[arg-type]
    assert isinstance(task, TaskSpec)
    return task


@pytest.mark.parametrize(
    ("instruction", "labels"),
    [
        ("Say whether a review is positive or negative.", ("positive", "negative")),
        ("Output whether the sentiment of the input is positive or negative overall.", ("positive", "negative")),
        ("For each input, determine whether it expresses a positive or a negative opinion.", ("positive", "negative")),
        ("Put the ticket into one of: billing, technical problem, account or other.",
         ("billing", "technical problem", "account", "other")),
        ("Classify tweets as positive, negative or neutral.", ("positive", "negative", "neutral")),
        ("Classify the meaning (options are \"same\" or \"not the same\")", ("same", "not the same")),
        ("Output one of the following labels: World, Sports, Sci/Tech.", ("World", "Sports", "Sci/Tech")),
        ("Label each SMS (spam/ham).", ("spam", "ham")),
        ("Labels: spam, ham", ("spam", "ham")),
        ("Answer with one of: A, B, C, D.", ("A", "B", "C", "D")),
        ('Answer "yes" if the sentence is grammatical and "no" otherwise.', ("yes", "no")),
        ("Sort questions into these categories:\n- person: asks who\n- place - asks where\n- **number**\n",
         ("person", "place", "number")),
        ("Route tickets.\n\n| label | meaning |\n|---|---|\n| card | lost cards |\n| app | crashes |", ("card", "app")),
        ("Ordne die Anfrage ein: Rechnung, Technik oder Sonstiges.", ("Rechnung", "Technik", "Sonstiges")),
        ("Determine whether a tweet is offensive or not.", ()),
        ("Write either a poem or a story.", ()),
        ("Summarise a text or a list, short and clear.", ()),
        ("For each input, determine if the keyword (marked in 'Word:') is used as in 'Sentence 2'.", ()),
    ],
)  # fmt: skip
def test_labels_that_an_instruction_names(instruction: str, labels: tuple[str, ...]) -> None:
    assert labels_said(instruction) == labels
    if labels:
        task = spec(instruction)
        assert (task.kind, task.labels, task.metric) == ("classify", labels, "accuracy")
        assert labels[0] in task.notes[0]


@pytest.mark.parametrize(
    ("instruction", "kind"),
    [
        ("Please translate the sentence to German.", "generate"),
        ("Your task is to summarise news.", "generate"),
        ("Extract the names of drugs.", "extract"),
        ("In this task, find the person that is spoken of.", "extract"),
    ],
)
def test_kinds_that_an_instruction_says(instruction: str, kind: str) -> None:
    assert spec(instruction).kind == kind


@pytest.mark.parametrize(
    ("instruction", "kind", "labels", "scale"),
    [
        ("Translate an English description of what to do in a shell into one Bash command line.", "generate", (), None),
        ("Normalise the dates in a sentence to TIMEX, against a reference date.", "generate", (), None),
        ("Date normalisation: output the TIMEX value of a date.", "generate", (), None),
        ("Find the named entities in a sentence about music: artists, bands, songs and others.", "extract",
         ("artists", "bands", "songs"), None),
        ("Extract persons and places from news", "extract", ("persons", "places"), None),
        ("Answer a question with words of the text that it is about.", "extract", (), None),
        ("Given a paragraph and a question, find the answer in the paragraph.", "extract", (), None),
        ("Rate how well-formed a search query is as a question, from 0 to 1.", "score", (), (0, 1)),
        ("How similar are two sentences, on a scale from 0 to 5?", "score", (), (0, 5)),
    ],
)  # fmt: skip
def test_plain_descriptions_of_every_kind(
    instruction: str, kind: str, labels: tuple[str, ...], scale: tuple[float, float] | None
) -> None:
    task = spec(instruction)
    assert (task.kind, task.labels, task.scale) == (kind, labels, scale)
    assert task.kind_is_inferred
    assert task.metric == {"generate": "chrf", "score": "spearman"}.get(kind, "span_f1" if labels else "exact_match")


@pytest.mark.parametrize(
    "instruction",
    [
        "Say which of 77 intents a customer's message to an online bank has.",
        "Identify the topic of a news item",
        "Named entities of contracts",
    ],
)
def test_a_kind_whose_labels_are_not_named_needs_only_those(instruction: str) -> None:
    loaded = load_task(instruction)
    assert isinstance(loaded, NeedsLLM) and "its labels" in loaded.reason


def test_a_scale_that_known_ratings_leave_is_none() -> None:
    words = "Rate the answer from 0 to 1."
    assert spec(f"{words}\n\na -> 0.5\nb -> 1.0\nc -> 0.2\nd -> 0").scale == (0, 1)
    assert spec(f"{words}\n\na -> 0.5\nb -> 1.0\nc -> 0.2\nd -> 4").scale is None


@pytest.mark.parametrize("instruction", ["Detect spam", "Tell me the emotion of the text.", "Is it offensive or not?"])
def test_what_cannot_be_told_needs_an_llm(instruction: str) -> None:
    assert isinstance(load_task(instruction), NeedsLLM)
    assert isinstance(load_task(instruction, overrides=Overrides(kind="classify")), NeedsLLM)
    assert spec(instruction, labels=("yes", "no")).labels == ("yes", "no")


def test_few_examples_with_a_label_each_need_a_word_of_classification() -> None:
    examples = "my card is gone -> card\nthe app crashes -> app\nwho are you -> chat"
    assert spec(f"What is the intent?\n\n{examples}").labels == ("card", "app", "chat")
    assert spec(f"Continue.\n\n{examples}").kind == "generate"


def test_outputs_that_come_again_are_labels() -> None:
    examples = "a1 -> red\na2 -> blue\na3 -> red\na4 -> blue"
    assert spec(f"Do as shown.\n\n{examples}").labels == ("red", "blue")


def test_amounts_are_no_labels_but_a_scale_is() -> None:
    sums = "\n".join(f"{i} {i % 13} -> {i % 20 + 90}" for i in range(60))
    assert spec(f"Add.\n\n{sums}").kind == "generate"
    stars = "\n".join(f"review number x{i} -> {5 - i % 5}" for i in range(20))
    assert spec(f"Do as shown.\n\n{stars}").labels == ("1", "2", "3", "4", "5")


def test_labels_are_in_the_order_of_the_instruction() -> None:
    task = spec("Does it support or undermine the claim?\n\na -> undermine\nb -> support\nc -> undermine\nd -> support")
    assert task.labels == ("support", "undermine")


def test_labels_of_examples_are_spelled_as_the_instruction_spells_them() -> None:
    task = spec("Label it with one of: Not Spam, Spam.\n\na -> not_spam\nb -> spam")
    assert [e.output for e in task.examples] == ["Not Spam", "Spam"]


@pytest.mark.parametrize(
    ("source", "answer", "copied"),
    [
        ("Let us wait for Tal August.", "Tal August", True),
        ("octopus, olives, hippo, cat", "cat, hippo", True),
        ("Mary thinks that she is smart. [t]", "thinks that", True),
        ("バスで東京に行く", "東京", True),
        ("brief", "b", False),
        ("one two three four", "four one", False),
        ("What part did no I meant how many chapters are there?", "How many chapters there are?", False),
    ],
)
def test_what_is_a_copy(source: str, answer: str, copied: bool) -> None:
    assert is_copied(source, answer) is copied


def test_what_is_a_choice() -> None:
    assert is_choice("wolf, ferret", "wolf")
    assert is_choice("Paris or London", "london")
    assert not is_choice("cat, hippo, olives", "cat, hippo")
    assert not is_choice("The wolf, which is grey, ran, and ran, and ran", "wolf")


def test_metric_of_a_generator() -> None:
    assert infer_metric("generate", [("1 2", "3"), ("2 2", "4")])[0] == "exact_match"
    assert infer_metric("generate", [("brief word", "b r i e f w o r d")])[0] == "exact_match"
    assert infer_metric("generate", [("Bonjour.", "Good day to you, my friend.")])[0] == "chrf"
    assert infer_metric("generate", [])[0] == "chrf"
    assert infer_metric("extract", [("a b", "a")])[0] == "exact_match"


def test_a_text_too_long_for_a_label() -> None:
    long = "a sentence that goes on and on and on for much longer than any label would ever do"
    with pytest.raises(BadInput, match="too long for a label"):
        spec(f"Judge.\n\nx -> {long}\ny -> short", kind="classify")


def test_language_by_script() -> None:
    assert spec("Translate.\n\nこんにちは -> hello there\nさようなら -> good bye then").language == "ja"
    assert spec("Translate.\n\nпривет -> hello there\nпока -> good bye then").language == "ru"
    assert spec("Translate to Japanese.\n\nhello there -> こんにちは\ngood bye -> さようなら").language == "en"
