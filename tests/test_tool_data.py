"""deduplicate and check_labels as a run calls them, with a real client and a teacher that goes by keywords."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from p2m.data.referee import Referee
from p2m.errors import ToolFailure
from p2m.llm.client import ChatModel, open_model
from p2m.rows import Row
from p2m.store import Store
from p2m.task.spec import Example, TaskSpec
from tests.tool_call import FACTS, call
from tests.tool_call import context as tool_context
from tools.base import LEAST_SECONDS, ToolContext
from tools.check_labels import check_labels
from tools.deduplicate import deduplicate
from tools.workspace import DataInfo, HeldOut, Workspace

TASK = TaskSpec(
    name="mail",
    instruction="Is the message about billing or about delivery?",
    kind="classify",
    labels=("billing", "delivery"),
    examples=(Example(input="why was my card charged twice this month", output="billing"),),
)
BILLING = ["invoice", "card", "refund", "payment", "fee", "bill", "price", "receipt", "tax", "bank"]
DELIVERY = ["parcel", "courier", "box", "shipment", "truck", "package", "door", "address", "tracking", "letter"]
TAILS = [
    "was wrong again",
    "never came up",
    "looks odd to me today",
    "should be fixed soon, please",
    "confuses all of us",
]


def messages(source: str = "generated") -> list[Row]:
    """100 messages that no step takes for one another without an encoder."""
    made = []
    for i, tail in enumerate(TAILS):
        for label, words in (("billing", BILLING), ("delivery", DELIVERY)):
            for k, word in enumerate(words):
                made.append(Row(f"the {word} {words[(k + i + 1) % 10]} {tail} {word[::-1]}", label, source))
    return made


def other(label: str) -> str:
    return "delivery" if label == "billing" else "billing"


class Keywords(BaseHTTPRequestHandler):
    """An OpenAI-compatible endpoint that knows the two kinds of words, and has no answer to the others."""

    asked: list[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][-1]["content"]
        self.asked.append(text)
        known = {"billing": BILLING, "delivery": DELIVERY}
        found = [label for label, words in known.items() if set(words) & set(text.split())]
        message = {"role": "assistant", "content": found[0] if len(found) == 1 else "I cannot say"}
        reply = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "keywords",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
        }
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def teacher() -> Iterator[tuple[ChatModel, list[str]]]:
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Asked", (Keywords,), {"asked": asked}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield open_model(f"http://127.0.0.1:{server.server_port}/v1#keywords", role="teacher", use_cache=False), asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2M_HOME", str(tmp_path / "empty"))


def context(
    tmp_path: Path, *datasets: list[Row], held_out: list[Row] | None = None, teacher: ChatModel | None = None
) -> ToolContext:
    store = Store(tmp_path / "artifacts")
    infos = []
    for i, rows in enumerate(datasets):
        handle = store.handle("ds", test=i)
        store.save_rows(handle, rows, {})
        counts = {label: sum(r.output == label for r in rows) for label in TASK.labels}
        infos.append(DataInfo(handle, rows[0].source, len(rows), counts, {"duplicate_exact": 3}, brief="b"))
    workspace = Workspace(datasets=tuple(infos))
    if held_out:
        fixed = Referee(store, None).fix_from_rows(TASK, held_out, "generated", 0)
        handle = Referee(store, None).save(fixed)
        workspace = replace(workspace, held_out=HeldOut(handle, "generated", len(fixed.validation), len(fixed.test)))
    return tool_context(tmp_path, TASK, workspace, teacher=teacher, store=store)


@pytest.mark.usefixtures("no_encoder")
def test_deduplicate_counts_replaces_and_shows(tmp_path: Path) -> None:
    rows = messages()
    sealed = [Row(f"completely other sealed sentence {w} {w[::-1]} {w}", "billing") for w in DELIVERY]
    extra = [
        Row(rows[0].input.upper(), "billing", "generated"),
        Row(f"{rows[1].input} now", "billing", "generated"),
        Row(TASK.examples[0].input, "billing", "generated"),
        Row(f"{sealed[0].input}!", "billing", "generated"),
        Row(f"{sealed[1].input} x", "delivery", "generated"),
    ]
    ctx = context(tmp_path, rows + extra, held_out=sealed)
    old = ctx.workspace.datasets[0].handle
    result, after = call(deduplicate, ctx)
    (info,) = after.workspace.datasets
    assert info.handle != old and info.deduplicated and not info.checked
    assert after.store.rows(info.handle) == rows
    assert (info.rows, info.labels, info.brief) == (100, {"billing": 50, "delivery": 50}, "b")
    assert info.removed == {"duplicate_exact": 5, "duplicate_near": 1, "held_out_exact": 1, "held_out_near": 1}
    assert result.text.startswith(
        f"{info.handle}: kept 100 of 105 "
        "(2 exact duplicates, 1 near-duplicates, 1 held-out rows, 1 held-out look-alikes)"
    )
    assert "Paraphrases were not looked for" in result.text
    assert result.data == {"dataset": asdict(info), "replaces": [old]}
    assert result.display.count("\n- ") == 5
    assert f"“{sealed[1].input}”" not in result.display, "a sealed row is never shown"
    assert deduplicate.precondition(after.workspace, FACTS) == "every dataset is deduplicated already"


@pytest.mark.usefixtures("no_encoder")
def test_deduplicate_all_prefers_real_data_across_datasets(tmp_path: Path) -> None:
    made, real = messages(), [replace(r, source="dataset:o/n/train") for r in messages()[:10]]
    ctx = context(tmp_path, made, real)
    result, after = call(deduplicate, ctx)
    assert len(result.data["datasets"]) == 2
    by_source = {d.source: d for d in after.workspace.datasets}
    assert {source: d.rows for source, d in by_source.items()} == {"generated": 90, "dataset:o/n/train": 10}
    again, _ = call(deduplicate, ctx)
    assert again == result, "the same call gives the same handles"


@pytest.mark.usefixtures("no_encoder")
def test_deduplicate_one_of_two(tmp_path: Path) -> None:
    ctx = context(tmp_path, messages(), [*messages()[:20], Row("a wholly new request", "billing", "generated")])
    second = ctx.workspace.datasets[1].handle
    result, after = call(deduplicate, ctx, dataset=second)
    assert "kept 1 of 21 (20 exact duplicates)" in result.text
    assert [d.rows for d in after.workspace.datasets] == [100, 1]
    assert deduplicate.check({"dataset": second}, after.workspace), "a dataset is deduplicated once"


@pytest.mark.usefixtures("no_encoder")
def test_a_dataset_of_repetitions_only_leaves_the_workspace(tmp_path: Path) -> None:
    ctx = context(tmp_path, messages(), messages()[:20])
    _, after = call(deduplicate, ctx, dataset=ctx.workspace.datasets[1].handle)
    assert [d.rows for d in after.workspace.datasets] == [100]


def test_paraphrases_are_found_with_the_encoder(tmp_path: Path, minilm: Path) -> None:
    rows = [
        Row("Where do I find my card PIN?", "billing", "generated"),
        Row("Where is my card PIN?", "billing", "generated"),
        Row("The courier left my parcel in the rain", "delivery", "generated"),
    ]
    result, after = call(deduplicate, context(tmp_path, rows))
    assert after.workspace.datasets[0].removed["duplicate_similar"] == 1
    assert "(1 paraphrases)" in result.text


def test_nothing_to_do_is_said() -> None:
    assert deduplicate.precondition(Workspace(), FACTS) == "there is no training data yet"
    assert check_labels.precondition(Workspace(), FACTS) == "there is no training data yet"


@pytest.mark.usefixtures("no_encoder")
def test_check_labels_relabels_what_the_teacher_is_sure_of(
    tmp_path: Path, teacher: tuple[ChatModel, list[str]]
) -> None:
    model, asked = teacher
    rows = messages()
    wrong = [replace(rows[i], output=other(rows[i].output)) for i in (0, 30, 99)]
    mute = Row("nothing in this sentence tells", "billing", "generated")
    known = Row("the teacher was asked before", "billing", "generated", {"billing": 0.1, "delivery": 0.9})
    given = [*wrong, *rows[1:30], mute, known]
    own = [Row("my own mistake about a parcel", "billing", "user")]
    ctx = context(tmp_path, given, own, teacher=model)
    result, after = call(check_labels, ctx)
    checked, mine = after.workspace.datasets
    assert checked.checked and mine.checked
    fixed = after.store.rows(checked.handle)
    assert [r.output for r in fixed[:3]] == [rows[i].output for i in (0, 30, 99)]
    assert fixed[-2].output == "billing", "no answer is no reason"
    assert (fixed[-1].output, fixed[-1].probs) == ("delivery", known.probs)
    assert after.store.rows(mine.handle) == own, "the user's own rows stay as they are"
    assert sorted(asked) == sorted(r.input for r in given[:-1]), "nobody is asked twice or in vain"
    assert "kept 34 of 34 (teacher agrees with 88% of 33 asked, 4 relabelled, 0 removed)" in result.text
    assert f"“{wrong[0].input}”: {wrong[0].output} → {rows[0].output}" in result.display
    assert checked.labels == {label: sum(r.output == label for r in fixed) for label in TASK.labels}


@pytest.mark.usefixtures("no_encoder")
def test_check_labels_stops_asking_when_the_time_is_spent(tmp_path: Path, teacher: tuple[ChatModel, list[str]]) -> None:
    model, asked = teacher
    rows = [replace(row, output=other(row.output)) for row in messages()]
    told: list[float] = []
    ctx = replace(
        context(tmp_path, rows, teacher=model),
        seconds_left=lambda: 200.0 - 10 * len(asked),
        progress=lambda text, share: told.append(share or 0.0),
    )
    result, after = call(check_labels, ctx)
    # 70% of 200 s are 14 calls of 10 s, beside what was on its way then: the rest is for the training.
    assert 14 <= len(asked) < 14 + 2 * model.concurrency
    assert f"{100 - len(asked)} rows were not asked about" in result.text
    assert max(told) == pytest.approx(len(asked) / 100), "a call that is not made is no progress"
    assert after.store.rows(after.workspace.datasets[0].handle)[50:] == rows[50:], "those not asked about stay"
    assert f"of {len(asked)} asked" in result.text


def test_check_labels_asks_about_suspected_rows_of_a_dataset_only(
    tmp_path: Path, teacher: tuple[ChatModel, list[str]], minilm: Path
) -> None:
    model, asked = teacher
    rows = messages("dataset:o/n/train")
    bad = [5, 44, 71]
    given = [replace(r, output=other(r.output)) if i in bad else r for i, r in enumerate(rows)]
    _, after = call(check_labels, context(tmp_path, given, teacher=model))
    assert {given[i].input for i in bad} <= set(asked)
    assert len(asked) < 30
    assert after.store.rows(after.workspace.datasets[0].handle) != given
    assert [r.output for r in after.store.rows(after.workspace.datasets[0].handle)] == [r.output for r in rows]


def test_check_labels_needs_a_teacher_and_something_unchecked(tmp_path: Path) -> None:
    ctx = context(tmp_path, messages())
    nobody = replace(FACTS, has_teacher=False)
    assert check_labels.precondition(ctx.workspace, nobody) == "there is no teacher to ask"
    with pytest.raises(ToolFailure, match="no teacher"):
        asyncio.run(check_labels.fn(ctx, dataset="all"))
    done = Workspace(datasets=tuple(replace(d, checked=True) for d in ctx.workspace.datasets))
    assert check_labels.precondition(done, FACTS) == "the labels of every dataset are checked already"


def test_a_share_of_the_time_left_is_of_what_there_was_at_first(tmp_path: Path) -> None:
    clock = [400.0]
    ctx = replace(context(tmp_path), seconds_left=lambda: clock[0])
    half = ctx.time_share(0.5)
    assert not half()
    clock[0] = 201.0
    assert not half()
    clock[0] = 199.0
    assert half() and not ctx.out_of_time()
    again = ctx.time_share(0.9)
    clock[0] = LEAST_SECONDS + 1
    assert not again(), "of 199 s 21 are left, more than a tenth"
    clock[0] = LEAST_SECONDS - 0.1
    assert again() and ctx.out_of_time()
    assert not replace(ctx, seconds_left=lambda: None).time_share(0.0)(), "without a limit there is no share of it"
