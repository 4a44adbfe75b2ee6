"""Tasks as real people wrote them become right task specs, without an LLM."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from p2m.data.labelled import read_labelled
from p2m.task.parse import load_task
from p2m.task.spec import TaskSpec

SIMILARITY = (
    "0 - definitely not", "1 - probably not", "2 - possibly", "3 - probably", "4 - almost perfectly", "5 - perfectly"
)  # fmt: skip
INDUCTION: dict[str, tuple[str, tuple[str, ...], str, int]] = {
    "active_to_passive": ("generate", (), "chrf", 8),
    "antonyms": ("generate", (), "exact_match", 8),
    "cause_and_effect": ("extract", (), "exact_match", 8),
    "common_concept": ("generate", (), "chrf", 8),
    "diff": ("generate", (), "exact_match", 8),
    "first_word_letter": ("generate", (), "exact_match", 8),
    "informal_to_formal": ("generate", (), "chrf", 8),
    "larger_animal": ("generate", (), "exact_match", 8),
    "letters_list": ("generate", (), "exact_match", 8),
    "negation": ("generate", (), "chrf", 8),
    "num_to_verbal": ("generate", (), "chrf", 8),
    "orthography_starts_with": ("extract", (), "exact_match", 8),
    "rhymes": ("generate", (), "exact_match", 8),
    "second_word_letter": ("generate", (), "exact_match", 8),
    "sentence_similarity": ("classify", SIMILARITY, "accuracy", 6),
    "sentiment": ("classify", ("positive", "negative"), "accuracy", 8),
    "singular_to_plural": ("generate", (), "exact_match", 8),
    "sum": ("generate", (), "exact_match", 8),
    "synonyms": ("generate", (), "exact_match", 8),
    "taxonomy_animal": ("extract", (), "exact_match", 8),
    "translation_en-de": ("generate", (), "exact_match", 8),
    "translation_en-es": ("generate", (), "exact_match", 8),
    "translation_en-fr": ("generate", (), "exact_match", 8),
    "word_in_context": ("classify", ("same", "not the same"), "accuracy", 8),
}
SUPERNI: dict[str, tuple[str, tuple[str, ...], str, int]] = {
    "task1195_disflqa_disfluent_to_fluent_conversion": ("generate", (), "chrf", 3),
    "task1413_dart_object_identification": ("extract", (), "exact_match", 3),
    "task1453_person_entity_extraction_btc_corpus": ("extract", (), "exact_match", 2),
    "task1704_ljspeech_textmodification": ("generate", (), "chrf", 2),
    "task738_perspectrum_classification": ("classify", ("support", "undermine"), "accuracy", 2),
    "task957_e2e_nlg_text_generation_generate": ("generate", (), "chrf", 2),
}


def spec(source: object) -> TaskSpec:
    task = load_task(str(source))
    assert isinstance(task, TaskSpec)
    return task


def summary(task: TaskSpec) -> tuple[str, tuple[str, ...], str, int]:
    return task.kind, task.labels, task.metric, len(task.examples)


@pytest.mark.parametrize("name", INDUCTION)
def test_instruction_induction(shared: Path, name: str) -> None:
    path = shared / f"data/instruction_induction/{name}.json"
    task = spec(path)
    assert summary(task) == INDUCTION[name]
    assert task.name == name
    assert (task.train, task.validation) == (f"{path.resolve()}#induce", f"{path.resolve()}#execute")
    assert task.notes


@pytest.mark.parametrize("name", SUPERNI)
def test_superni(shared: Path, name: str) -> None:
    path = shared / f"data/superni/{name}.json"
    task = spec(path)
    assert summary(task) == SUPERNI[name]
    assert (task.train, task.validation) == (f"{path.resolve()}#train", f"{path.resolve()}#test")


def test_no_shared_task_is_left_out(shared: Path) -> None:
    for folder, pinned in (("instruction_induction", INDUCTION), ("superni", SUPERNI)):
        assert {p.stem for p in (shared / "data" / folder).glob("*.json")} == set(pinned)


def test_demonstrations_are_balanced_and_held_out_rows_read_with_the_labels(shared: Path) -> None:
    task = spec(shared / "data/instruction_induction/sentiment.json")
    assert [e.output for e in task.examples].count("positive") == 4
    assert task.instruction == "Output whether the sentiment of the input sentence is positive or negative."
    assert task.validation is not None
    rows = read_labelled(task.validation, kind=task.kind, labels=task.labels)
    assert {row.output for row in rows} == set(task.labels)


PROMPTS = {
    0: ("extract", "exact_match", 3, "en"),
    1: ("generate", "chrf", 12, "en"),
    2: ("generate", "chrf", 6, "ja"),
}


@pytest.mark.parametrize("wrapped", ["fenced", "quoted", "bare"])
@pytest.mark.parametrize("number", PROMPTS)
def test_prompts_of_the_paper(shared: Path, tmp_path: Path, number: int, wrapped: str) -> None:
    """Independent of the parser: in these prompts a blank line ends each example and no value holds ``"\\n``."""
    document = (shared / "data/prompt2model_prompts/prompt_examples.md").read_text(encoding="utf-8")
    fenced = re.findall(r"```text\n.*?\n```", document, re.S)[number]
    quoted = fenced.removeprefix("```text\n").removesuffix("\n```")
    bare = quoted.strip('"').strip()
    path = tmp_path / "prompt.txt"
    path.write_text({"fenced": fenced, "quoted": quoted, "bare": bare}[wrapped], encoding="utf-8")

    task = spec(path)
    kind, metric, count, language = PROMPTS[number]
    assert (task.kind, task.metric, len(task.examples), task.language) == (kind, metric, count, language)
    blocks = [block for block in bare.split("\n\n") if block.startswith("input=")]
    wanted = [block.removeprefix('input="').removesuffix('"').split('"\noutput="') for block in blocks]
    assert [[e.input, e.output] for e in task.examples] == wanted
    instruction = bare[: bare.index('\n\ninput="')]
    lead_in = instruction.split("\n\n")[-1]
    if lead_in.startswith("Here are"):
        instruction = instruction.removesuffix(lead_in).strip()
    assert task.instruction == instruction
