"""A training row can say where it came from, through every step up to the delivered run."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.referee import referee_tools
from agent.rows_log import print_rows, training_rows
from agent.settings import Settings
from agent.state import RunState
from p2m.catalog.folder import FolderCatalog
from p2m.data.referee import Referee
from p2m.errors import BadInput
from p2m.llm.client import open_model
from p2m.rows import Row, done_to, is_real, provenance, read_rows
from p2m.task.spec import Example, Limits, StudentLimits, TaskSpec
from tests.bag_of_words import embed
from tests.catalog_folder import make
from tests.fake_llm import FakeLLM
from tests.scripted_teacher import LABELS, label_of, write
from tests.tiny_model import make_encoder
from tests.tool_call import call, context
from tools.check_labels import check_labels
from tools.deduplicate import deduplicate
from tools.fine_tune import fine_tune
from tools.import_dataset import import_dataset
from tools.workspace import HeldOut, Workspace


def questions(n: int, seed: str) -> list[Row]:
    return [Row(text, label) for label in LABELS for text in dict.fromkeys(write(label, n, f"{seed} {label}"))]


class BagOfWords:
    """In the place of the sentence encoder: this is about rows, not about how alike they are."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return embed(texts)


def test_a_row_keeps_its_origin_to_the_delivered_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tools.worth", "tools.check_labels", "tools.deduplicate", "p2m.catalog.embedding"):
        monkeypatch.setattr(f"{module}.default_embed", lambda: embed)
    monkeypatch.setattr("p2m.train.embed.Embedder.default", BagOfWords)
    data = questions(40, "data")
    wrong = {7: "number", 60: "person"}
    records = [{"text": r.input, "label": wrong.get(i, r.output)} for i, r in enumerate(data)]
    make(tmp_path, "a/one", rows=records)
    catalog = FolderCatalog(tmp_path)
    task = TaskSpec(
        name="t",
        instruction="What is asked for?",
        kind="classify",
        labels=LABELS,
        examples=tuple(Example(input=r.input, output=r.output) for r in questions(1, "few")),
        student=StudentLimits(base=str(make_encoder(tmp_path / "base"))),
    )
    with FakeLLM(lambda request: label_of(request.last)) as server:
        teacher = open_model(server.endpoint, role="teacher", use_cache=False)
        space = Workspace(searched=True, hits=({"id": "a/one", "fit": "yes"},))
        ctx = context(tmp_path, task, space, catalog=catalog, teacher=teacher)
        referee = Referee(ctx.store, None)
        handle = referee.save(referee.fix_from_rows(task, questions(45, "held"), "user", 1))
        ctx = replace(ctx, workspace=replace(space, held_out=HeldOut(handle, "user", 60, 60)))
        _, ctx = call(import_dataset, ctx, dataset="a/one")
        # A dataset counts as checked; here the two wrong labels are to be found.
        doubted = tuple(replace(d, checked=False) for d in ctx.workspace.datasets)
        ctx = replace(ctx, workspace=replace(ctx.workspace, datasets=doubted))
        _, ctx = call(check_labels, ctx)
        _, ctx = call(deduplicate, ctx)
        _, ctx = call(fine_tune, ctx, method="frozen")
        ctx = replace(ctx, teacher=None)
        asyncio.run(referee_tools()["deliver"].fn(ctx))

    rows = read_rows(tmp_path / "train.jsonl")
    revision = catalog.revision("a/one")
    real = [r for r in rows if r.source == "dataset:a/one/train"]
    assert len(real) > 60
    for row in real:
        meta = row.meta
        assert (meta["dataset"], meta["revision"], meta["split"]) == ("a/one", revision, "train")
        assert records[meta["row"]]["text"] == row.input
        assert meta["done"] == (["mapped", "relabelled"] if meta["row"] in wrong else ["mapped"])
        assert meta.get("was") == wrong.get(meta["row"])
    assert {r.meta["row"] for r in real} >= set(wrong)

    state = RunState(task, Settings(planner="policy", teacher="none"), Limits(), workspace=ctx.workspace)
    found = training_rows(tmp_path, state)
    assert found == rows
    out = io.StringIO()
    print_rows(found, data[7].input.upper(), out, as_json=False)
    assert f"from   row 7 of a/one train at {revision}, mapped, relabelled (its label was number)" in out.getvalue()
    out = io.StringIO()
    print_rows(found, data[7].input, out, as_json=True)
    assert json.loads(out.getvalue().splitlines()[0])["meta"]["row"] == 7
    with pytest.raises(BadInput, match="none of the"):
        print_rows(found, "xylophone", out, as_json=False)


def test_origins_in_words() -> None:
    row = Row("x", "a", "dataset:o/n/train", meta={"dataset": "o/n", "split": "train", "row": 3, "revision": "f00"})
    assert provenance(row) == "row 3 of o/n train at f00"
    assert provenance(done_to(done_to(row, "mapped"), "relabelled", was="b")).endswith(
        "at f00, mapped, relabelled (its label was b)"
    )
    assert (
        provenance(Row("x", "a", "generated", meta={"brief": "long ones"})) == "written by the teacher for “long ones”"
    )
    assert provenance(Row("x", "a")) == "labelled by the user"
    assert [is_real(s) for s in ("user", "demonstration", "dataset:o/n/train")] == [True] * 3
    assert [is_real(s) for s in ("generated", "transformed:o/n/train")] == [False] * 2
