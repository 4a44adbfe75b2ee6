"""The few-shot prompts that people have, split into instruction and examples."""

from __future__ import annotations

import time

import pytest

from p2m.task.fewshot import split

GOOD_BAD = [("good", "positive"), ("bad", "negative")]


def parts(text: str) -> tuple[str, list[tuple[str, str]]]:
    instruction, shown = split(text, "task")
    return instruction, [(s.input, s.output) for s in shown]


@pytest.mark.parametrize(
    "examples",
    [
        'input="good"\noutput="positive"\n\ninput="bad"\noutput="negative"',
        "input=“good”\noutput=“positive”\ninput=”bad”\noutput=”negative”",
        'input="good", output="positive"\ninput="bad", output="negative"',
        "input='good' output='positive'\ninput='bad' output='negative'",
        "1. input = good\n   output = positive\n2. input = bad\n   output = negative",
        "Input: good\nOutput: positive\n\nInput: bad\nOutput: negative",
        "Input: good Output: positive\nInput: bad Output: negative",
        "Input: good -> Output: positive\nInput: bad -> Output: negative",
        "**Input:** good\n**Output:** positive\n\n**Input:** bad\n**Output:** negative",
        "Example 1:\nInput: good\nOutput: positive\n\nExample 2:\nInput: bad\nOutput: negative",
        "Q: good\nA: positive\n\nQ: bad\nA: negative",
        'Text: "good"\nLabel: positive\n---\nText: "bad"\nLabel: negative',
        "Tweet: good\nSentiment: positive\nTweet: bad\nSentiment: negative",
        "Film: good\nVerdict: positive\nFilm: bad\nVerdict: negative",
        "Eingabe: good\nAusgabe: positive\n\nEingabe: bad\nAusgabe: negative",
        '{"input": "good", "output": "positive"}\n{"input": "bad", "output": "negative"}',
        '[{"text": "good", "label": "positive"},\n {"text": "bad", "label": "negative"}]',
        '```json\n[["good", "positive"],\n ["bad", "negative"]]\n```',
        "- good -> positive\n- bad -> negative",
        '"good" => positive\n"bad" → negative',
        "good\tpositive\nbad\tnegative",
        "| text | label |\n|------|-------|\n| good | positive |\n| bad | negative |",
        "| label | text |\n|---|---|\n| positive | good |\n| negative | bad |",
    ],
)
@pytest.mark.parametrize("lead", ["", "Here are some examples:\n\n", "## Examples\n\n", "For example:\n"])
def test_styles(lead: str, examples: str) -> None:
    assert parts(f"Say if it is praise.\n\nBe strict.\n\n{lead}{examples}\n") == (
        "Say if it is praise.\n\nBe strict.",
        GOOD_BAD,
    )


def test_text_after_the_examples_stays_and_the_slot_for_the_next_goes() -> None:
    body = "Input: good\nOutput: positive\n\nInput: bad\nOutput: negative"
    assert parts(f"Judge.\n\n{body}\n\nAnswer in lower case.")[0] == "Judge.\n\nAnswer in lower case."
    for slot in ("Now classify:\nInput: {text}\nOutput:", "Input: <your text>\nOutput:", "Now the next one:"):
        assert parts(f"Judge.\n\n{body}\n\n{slot}") == ("Judge.", GOOD_BAD)


def test_a_lead_in_at_the_end_of_a_sentence() -> None:
    assert parts("Judge it. Here are a few examples:\ngood -> positive\nbad -> negative") == ("Judge it.", GOOD_BAD)


def test_values_of_many_lines_and_with_quotation_marks_inside() -> None:
    text = (
        'Quote.\n\ninput="say "hi" to "them"\n\nand "us""\noutput="they said "hi""\n\n'
        'input="he "=" she"\noutput="one\n\ntwo"\n\nMind the "quotes"'
    )
    assert parts(text) == (
        'Quote.\n\nMind the "quotes"',
        [('say "hi" to "them"\n\nand "us"', 'they said "hi"'), ('he "=" she', "one\n\ntwo")],
    )
    assert parts('Do.\ninput="a \\"b\\""\noutput="c"') == ("Do.", [('a "b"', "c")])
    assert parts('Do.\ninput="""a\n"b\n"""\noutput="""c"""') == ("Do.", [('a\n"b', "c")])


def test_code_as_output_keeps_its_lines() -> None:
    text = "Write code.\n\nInput: add\nOutput:\ndef f(a, b):\n    return a + b\n\nInput: one\nOutput: 1"
    assert parts(text)[1] == [("add", "def f(a, b):\n    return a + b"), ("one", "1")]


def test_an_input_of_several_fields_keeps_their_names() -> None:
    first = "Question: who?\nContext: Bob did: he.\nAnswer: Bob"
    text = f"Answer.\n\n{first}\n\nQuestion: where?\nContext: Rome.\nAnswer: Rome"
    assert parts(text)[1] == [
        ("Question: who?\nContext: Bob did: he.", "Bob"),
        ("Question: where?\nContext: Rome.", "Rome"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Summarise the text: be brief. Note: use English.",
        'If there is none, the output is N/A, i.e., output="N/A".',
        "Classify.\nInput: a film review\nOutput: positive or negative",
        'Format:\n{"input": "...", "output": "..."}',
        "Route tickets.\n\n| label | meaning |\n|---|---|\n| card | lost cards |\n| app | crashes |",
        "Map x -> y.",
        "Judge.\nInput: a film review\nOutput: its sentiment",
        "Rules:\n- be kind\n- be brief",
    ],
)
def test_what_only_describes_is_no_example(text: str) -> None:
    assert parts(text) == (text, [])


def test_a_description_of_the_format_before_the_examples_stays() -> None:
    text = "Classify.\nInput: a review\nOutput: positive or negative"
    assert parts(f"{text}\n\nInput: good\nOutput: positive\nInput: bad\nOutput: negative") == (text, GOOD_BAD)


def test_an_output_that_begins_like_a_description_is_an_example() -> None:
    text = "Rephrase.\nInput: lots\nOutput: the great majority or more\nInput: cats\nOutput: feline animals"
    assert parts(text)[1] == [("lots", "the great majority or more"), ("cats", "feline animals")]


def test_examples_know_their_line() -> None:
    _, shown = split('"""Judge.\n\ninput="good"\noutput="positive"\n\ninput="bad"\noutput="negative"\n"""', "f.txt", 10)
    assert [(s.place.where, s.place.line) for s in shown] == [("f.txt", 12), ("f.txt", 15)]


@pytest.mark.parametrize(
    "text",
    ["[" * 50_000, "a: b\n" * 20_000, " \n" * 50_000, 'input="a"\noutput="' + '"\n' * 40_000, "x -> " * 20_000],
)
def test_hostile_text_takes_no_time(text: str) -> None:
    started = time.monotonic()
    split(text, "task")
    assert time.monotonic() - started < 5
