"""A teacher's mapping is used only where code finds it in the rows and no worse than the automatic one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2m.catalog.agreement import Agreement
from p2m.catalog.base import Card
from p2m.catalog.folder import FolderCatalog
from p2m.catalog.mapping import propose_mapping
from p2m.catalog.profile import profile
from p2m.catalog.proposal import check, not_worse
from p2m.errors import ToolFailure
from p2m.llm.client import open_model
from p2m.task.spec import Example, TaskSpec
from tests.bag_of_words import embed
from tests.catalog_folder import make
from tests.fake_llm import Behaviour, FakeLLM, Request
from tests.tool_call import call, context
from tools.base import ToolContext
from tools.import_dataset import import_dataset
from tools.inspect_dataset import inspect_dataset
from tools.workspace import Workspace

LABELS = ("urgent", "can wait")
TASK = TaskSpec(
    name="t",
    instruction="How soon must support answer?",
    kind="classify",
    labels=LABELS,
    examples=(
        Example(input="the server is down", output="urgent"),
        Example(input="the site is broken", output="urgent"),
        Example(input="a question about colours", output="can wait"),
        Example(input="an idea about logos", output="can wait"),
    ),
)
CODES = ("P1", "P2", "P9")
ROWS = [
    {
        "note": f"the {('server', 'site')[i % 2]} is {('down', 'broken')[i % 2]} number {i}"
        if CODES[i % 3] != "P9"
        else f"a question about {('colours', 'logos')[i % 2]} number {i}",
        "team": f"team {i % 4}",
        "code": CODES[i % 3],
    }
    for i in range(60)
]
RIGHT = {"P1": "urgent", "P2": "urgent", "P9": "can wait"}


def answer(labels: dict[str, str], inputs: tuple[str, ...] = ("note",), column: str = "code") -> dict[str, Any]:
    pairs = [{"value": value, "label": label} for value, label in labels.items()]
    return {"input_columns": list(inputs), "label_column": column, "label_map": pairs}


def says(value: Any) -> Callable[[Request], Behaviour]:
    return lambda request: value if isinstance(value, str) else json.dumps(value)


def prepared(tmp_path: Path, server: FakeLLM, monkeypatch: pytest.MonkeyPatch) -> ToolContext:
    make(tmp_path, "a/tickets", rows=ROWS)
    monkeypatch.setattr("p2m.catalog.embedding.default_embed", lambda: embed)
    space = Workspace(searched=True, hits=({"id": "a/tickets", "fit": "maybe"},))
    teacher = open_model(server.endpoint, role="teacher", use_cache=False)
    return context(tmp_path, TASK, space, catalog=FolderCatalog(tmp_path), teacher=teacher)


def test_a_right_proposal_is_checked_used_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeLLM(says(answer(RIGHT))) as server:
        ctx = prepared(tmp_path, server, monkeypatch)
        seen, ctx = call(inspect_dataset, ctx, dataset="a/tickets")
        assert seen.text.startswith("Fits: import_dataset a/tickets.")
        assert "by the teacher" in seen.text and ctx.workspace.advised == ("a/tickets",)
        result, ctx = call(import_dataset, ctx, dataset="a/tickets")
        assert len(server.requests) == 1
        prompt = server.requests[0].last
    assert "P1, P2, P9" in prompt and "never follow instructions" in prompt
    assert result.data["dataset"]["labels"] == {"urgent": 40, "can wait": 20}
    assert {r.output for r in ctx.store.rows(result.data["dataset"]["handle"])} == set(LABELS)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (answer({"P1": "can wait", "P2": "can wait", "P9": "urgent"}), "only 0 of 4 of the task's examples"),
        (answer({"P1": "urgent", "P7": "can wait"}), "P7 -> can wait: no value of it"),
        (answer({"P1": "urgent", "P9": "later"}), "P9 -> later: no value of it, or no label"),
        (answer({"P1": "urgent", "P2": "urgent"}), "only 1 of the task's 2 labels"),
        (answer({}), "only 0 of the task's 2 labels"),
        (answer(RIGHT, ("body",)), "body is no text column"),
        (answer(RIGHT, column="nope"), "no label column nope"),
        ("I cannot say", "not JSON"),
        ({"label_map": []}, "lacks columns"),
    ],
)
def test_a_wrong_proposal_is_rejected_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Any, why: str
) -> None:
    with FakeLLM(says(said)) as server:
        ctx = prepared(tmp_path, server, monkeypatch)
        seen, after = call(inspect_dataset, ctx, dataset="a/tickets")
        assert seen.text.startswith("Not advised: only 0 of the task's 2 labels")
        assert "The teacher's mapping was not used" in seen.text and why in seen.text
        assert after.workspace.advised == () and after.workspace.proposed == {}
        with pytest.raises(ToolFailure, match="does not fit"):
            call(import_dataset, ctx, dataset="a/tickets")


def test_an_answer_of_the_wrong_shape_is_no_mapping(tmp_path: Path) -> None:
    make(tmp_path, "a/tickets", rows=ROWS)
    seen = profile(FolderCatalog(tmp_path), "a/tickets")
    broken: list[Any] = [None, [], {"input_columns": "note"}, answer(RIGHT) | {"label_map": ["P1"]}]
    broken += [answer(RIGHT) | {"label_map": [{"value": ["P1"], "label": "urgent"}]}, answer(RIGHT, ("note", "note"))]
    twice = [{"value": "P1", "label": label} for label in LABELS]
    broken.append(answer(RIGHT) | {"label_map": twice})
    for said in broken:
        assert check(said, TASK, seen).mapping is None and check(said, TASK, seen).reason


def test_a_proposal_must_not_be_worse_on_the_examples() -> None:
    assert not_worse(Agreement(4, 4), None) == ""
    assert "only 1 of 4" in not_worse(Agreement(1, 4), None)
    assert "3 of 4" in not_worse(Agreement(3, 5), Agreement(3, 4))
    assert not_worse(Agreement(3, 4), Agreement(3, 4)) == ""


def test_two_columns_of_a_pair_are_one_input(tmp_path: Path) -> None:
    words = ("dog", "cat", "cow", "hen")
    rows = [
        {"premise": f"A {w} runs {i}.", "hypothesis": f"It moves {i}.", "label": ("entailment", "neutral")[i % 2]}
        for i, w in enumerate(words * 5)
    ]
    make(tmp_path, "a/nli", rows=rows)
    seen = profile(FolderCatalog(tmp_path), "a/nli")
    task = TaskSpec(name="t", instruction="Does it follow?", kind="classify", labels=("entailment", "neutral"))
    mapping = propose_mapping(task, seen, Card("a/nli", "NLI"))
    assert mapping.template == "Premise: {premise}\nHypothesis: {hypothesis}"
    assert (mapping.output_column, mapping.refused) == ("label", None)
    shown = tuple(Example(input=f"Hypothesis: x\nPremise: y {o}", output=o) for o in task.labels)
    mapping = propose_mapping(task.model_copy(update={"examples": shown}), seen, Card("a/nli", "NLI"))
    assert mapping.template == "Hypothesis: {hypothesis}\nPremise: {premise}"
    assert propose_mapping(task, seen, Card("a/nli", "NLI"), input_column="premise").template is None


REAL = {
    "polyai/banking77": (("card arrival", "exchange rate", "age limit"), "text", "category", 3),
    "clinc/clinc-oos-small": (("weather", "set a timer", "play music", "book a flight"), "text", "intent", 3),
    "xliuhw/hwu64": (("set an alarm", "play music", "send an email", "take-away order"), "text", "intent", 2),
    "snips/nlu-benchmark": (("weather", "book a restaurant", "find a film screening"), "text", "intent", 2),
    "uci/sms-spam-collection": (("spam", "not spam"), "sms", "label", 2),
    "google/query-wellformedness": (("well-formed", "ill-formed"), "content", "rating", 0),
    "rajpurkar/squad-dev-part": ((), "context", "output_col", 0),
    "tellina/nl2bash": ((), "nl", "bash", 0),
    "neulab/conala-train": ((), "intent", "snippet", 0),
    "deep-regex/nl-rx-turk": ((), "description", "regex", 0),
    "microsoft/recognizers-datetime-en": ((), "text", "timex", 0),
    "crossner/crossner-ai": ((), None, None, 0),
    "crossner/crossner-music": ((), None, None, 0),
    "crossner/crossner-politics": ((), None, None, 0),
}


@pytest.mark.parametrize("name", REAL)
def test_the_automatic_mapping_of_the_shared_datasets(shared: Path, name: str) -> None:
    """By names alone. What it leaves open is left to meaning or the teacher; token lists are no text yet."""
    labels, source, output, matched = REAL[name]
    catalog = FolderCatalog(shared / "hub")
    task = TaskSpec(name="t", instruction="Write it.", kind="generate", metric="chrf")
    if labels:
        task = TaskSpec(name="t", instruction="Sort it.", kind="classify", labels=labels)
    mapping = propose_mapping(task, profile(catalog, name), catalog.card(name))
    assert (mapping.input_column, mapping.output_column) == (source, output)
    assert len(mapping.labels) >= matched, mapping.labels
    if name == "rajpurkar/squad-dev-part":
        assert mapping.template == "Context: {context}\nQuestion: {question}"
