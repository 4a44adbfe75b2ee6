"""The Hub as a catalogue, and what it does when the Hub does not do its part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from p2m.catalog import hub as hub_module
from p2m.catalog import hubclient
from p2m.catalog.hub import HubCatalog
from p2m.catalog.hub_search import terms
from p2m.catalog.hubclient import HubClient, HubError
from p2m.errors import EXIT_PROVIDER, BadInput
from p2m.task.spec import TaskSpec
from tests.catalog_folder import ROWS, files, make
from tests.hub import LoopbackHub
from tests.tool_call import call, context
from tools.search_datasets import search_datasets
from tools.workspace import Workspace

CLASSIFY = "license: mit\nlanguage: en\ntask_categories: [text-classification]"
ASK: dict[str, Any] = {"kind": "classify", "language": "en", "limit": 5, "labels": ["spam", "ham"]}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting is what is asked for here, not the time it takes."""
    monkeypatch.setattr(hubclient, "_wait", lambda state: 0.0)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)


@pytest.fixture
def catalog(hub: LoopbackHub) -> HubCatalog:
    return HubCatalog(HubClient(hub.url))


def test_a_search_finds_by_words_tags_and_text_and_looks_into_the_best(hub: LoopbackHub, catalog: HubCatalog) -> None:
    make(hub.tree.root, "a/sms-spam", CLASSIFY)
    make(hub.tree.root, "b/mobile", CLASSIFY)  # only the text of its card says what it is
    (hub.tree.root / "datasets/b/mobile/README.md").write_text(f"---\n{CLASSIFY}\n---\nUnwanted messages, spam.\n")
    make(hub.tree.root, "c/spam-tokens", "license: mit\ntask_categories: [token-classification]", [{"t": "x", "n": 1}])
    hub.about("datasets", "c/spam-tokens").downloads = 10**6
    hits = catalog.search(["sms spam detection", "unwanted messages"], **ASK)
    assert {h.id for h in hits} == {"a/sms-spam", "b/mobile"}
    assert hits[0].id == "a/sms-spam" and (hits[0].labels_matched, hits[0].rows, hits[0].fit) == (2, 30, "yes")
    asked = [p for m, p in hub.requests if p.startswith("/api/datasets?")]
    assert any("search=spam" in p for p in asked)
    assert any("filter=task_categories:text-classification" in p and "filter=language:en" in p for p in asked)
    assert all("expand=cardData" in p for p in asked[1:])
    assert [p for p in hub.paths() if p == "/api/search/full-text"]


def test_a_search_is_pinned_and_cached(hub: LoopbackHub, catalog: HubCatalog) -> None:
    make(hub.tree.root, "a/sms-spam", CLASSIFY)
    catalog.search(["sms spam"], **ASK)
    before, revision = list(catalog.rows("a/sms-spam", "train")), catalog.revision("a/sms-spam")
    fetched = [p for p in hub.paths("GET") if "/resolve/" in p]
    assert len(fetched) == 2 and all(revision in p for p in fetched)
    catalog.search(["sms spam"], **ASK)
    assert list(catalog.rows("a/sms-spam", "train")) == before == ROWS
    assert [p for p in hub.paths("GET") if "/resolve/" in p] == fetched, "the card and the rows came once"


def test_a_large_file_is_streamed_in_parts(
    hub: LoopbackHub, catalog: HubCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "WHOLE_BYTES", 100_000)
    monkeypatch.setattr("p2m.catalog.hubfile.BLOCK", 20_000)
    monkeypatch.setattr(hub_module, "PEEK_ROWS", 200)
    sort = [{"text": f"message {i} {'x' * 80}", "label": ("ham", "spam")[i // 4000]} for i in range(8000)]
    make(hub.tree.root, "a/sorted-spam", f"{CLASSIFY}\n{files('train.jsonl').replace('s0', 'train')[12:]}", sort)
    size = (hub.tree.root / "datasets/a/sorted-spam/train.jsonl").stat().st_size
    (hit,) = catalog.search(["sorted spam"], **ASK)
    assert hit.labels_matched == 2, "the second label is only in the second half"
    read = sum(int(r.split("=")[1].split("-")[1]) - int(r.split("=")[1].split("-")[0]) + 1 for _, r in hub.ranges)
    assert read < size / 2
    assert abs(hit.rows - 8000) < 800
    assert list(catalog.rows("a/sorted-spam", "train", 3)) == sort[:3]
    assert [r["label"] for r in catalog.rows("a/sorted-spam", "train")].count("spam") == 4000
    assert not [p for m, p in hub.requests if m == "HEAD" and p.endswith("train.jsonl")]


def test_a_large_parquet_is_streamed_too(
    hub: LoopbackHub, catalog: HubCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setattr(hub_module, "WHOLE_BYTES", 1000)
    front = """license: mit
task_categories: [text-classification]
dataset_info:
  features:
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names: {'0': ham, '1': spam}
  splits:
  - name: train
    num_examples: 4000"""
    folder = make(hub.tree.root, "a/spam", front, rows=None, file="data/x")
    table = pa.table({"text": [f"message {i}" for i in range(4000)], "label": [0] * 3999 + [1]})
    pq.write_table(table, folder / "data" / "train-00000-of-00001.parquet", row_group_size=500)
    (hit,) = catalog.search(["spam"], **ASK)
    assert (hit.rows, hit.labels_matched) == (4000, 2), "the names of the labels are in the card"
    assert hub.ranges and list(catalog.rows("a/spam", "train", 2))[1] == {"text": "message 1", "label": "ham"}


def test_what_the_client_does_not_try_again_is_tried_again_here(hub: LoopbackHub, catalog: HubCatalog) -> None:
    make(hub.tree.root, "a/spam", CLASSIFY)
    hub.fail("/api/datasets/a/spam", 429, times=2)
    hub.fail("/resolve/", 500, times=2, method="GET")
    assert list(catalog.rows("a/spam", "train", 1)) == ROWS[:1]


@pytest.mark.parametrize(
    ("status", "said"), [(429, "over its rate limit"), (500, "failed on"), (401, "refused the token")]
)
def test_a_hub_that_fails_for_good_is_one_line_and_exit_4(
    status: int, said: str, hub: LoopbackHub, catalog: HubCatalog
) -> None:
    make(hub.tree.root, "a/spam", CLASSIFY)
    hub.fail("/api/datasets/a/spam", status, times=99)
    with pytest.raises(HubError, match=said) as raised:
        catalog.card("a/spam")
    assert raised.value.exit_code == EXIT_PROVIDER and "\n" not in str(raised.value)
    hub.heal()
    hub.fail("/resolve/", status, times=99)
    with pytest.raises(HubError, match=said):
        catalog.card("a/spam")


def test_what_is_not_there_is_bad_input(hub: LoopbackHub, catalog: HubCatalog) -> None:
    with pytest.raises(BadInput, match=r"a/none.*does not have it.*HF_TOKEN"):
        catalog.card("a/none")
    make(hub.tree.root, "a/private")
    hub.about("datasets", "a/private").private = True
    with pytest.raises(BadInput, match="a/private"):
        catalog.card("a/private")
    make(hub.tree.root, "a/spam")
    with pytest.raises(BadInput, match=r"has no split 'dev'. There are: train"):
        catalog.rows("a/spam", "dev")


def test_one_bad_dataset_does_not_spoil_the_search(hub: LoopbackHub, catalog: HubCatalog) -> None:
    make(hub.tree.root, "a/spam", CLASSIFY)
    make(hub.tree.root, "b/spam-broken", CLASSIFY, '{"text": "x"\n')
    make(hub.tree.root, "b/spam-down", CLASSIFY)
    hub.fail("/api/datasets/b/spam-down", 500, times=99)
    hub.fail("/api/search/full-text", 500, times=99)
    assert [h.id for h in catalog.search(["spam"], **ASK)] == ["a/spam"]
    assert sorted(catalog.unreadable()) == ["b/spam-broken", "b/spam-down"]
    assert "train.jsonl:1: not JSON" in catalog.unreadable()["b/spam-broken"]


def test_a_hub_that_is_down_is_reported_and_the_run_goes_on(tmp_path: Path, hub: LoopbackHub) -> None:
    dead = HubCatalog(HubClient("http://127.0.0.1:9"))
    task = TaskSpec(name="t", instruction="x", kind="classify", labels=("spam", "ham"))
    found, ctx = call(search_datasets, context(tmp_path, task, Workspace(), catalog=dead), queries=["spam"])
    assert "could not be searched: no connection to http://127.0.0.1:9" in found.text
    assert "generate rows" in found.text and ctx.workspace.searched and not ctx.workspace.hits


def test_offline_mode_is_named(hub: LoopbackHub, catalog: HubCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        catalog.search(["spam"], **ASK)


def test_the_token_is_sent_only_where_it_is_meant_to_be(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    Path(constants.HF_TOKEN_PATH).parent.mkdir(parents=True, exist_ok=True)
    Path(constants.HF_TOKEN_PATH).write_text("hf_savedsavedsavedsaved")
    assert HubClient(hub.url).token is False
    assert HubClient(hub.url, use_login=True).token == "hf_savedsavedsavedsaved"
    monkeypatch.setenv("HF_TOKEN", "hf_givengivengivengiven")
    assert HubClient(hub.url).token == "hf_givengivengivengiven"


def test_terms_are_the_telling_words() -> None:
    assert terms(["question type"])[0] in ("question-type", "question")
    asked = terms(["Route the questions that customers type into an online bank's help chat", "card arrival exchange"])
    assert {"customer", "exchange", "arrival"} <= set(asked) and len(asked) <= 10
    assert not {"the", "that", "type"} & set(asked)


def test_the_shared_datasets_are_found_through_the_hub(hub: LoopbackHub, catalog: HubCatalog, shared: Path) -> None:
    from tests.hub.conftest import share

    share(hub, shared, "polyai/banking77", "uci/sms-spam-collection", "xliuhw/hwu64")
    labels = ["card arrival", "lost or stolen card", "exchange rate", "change pin"]
    queries = ["online banking customer questions", "bank help chat intents"]
    best = catalog.search(queries, kind="classify", language="en", limit=3, labels=labels)[0]
    assert (best.id, best.labels_matched, best.fit) == ("polyai/banking77", 4, "yes")
    assert json.dumps(catalog.splits("polyai/banking77")) == '{"train": 10003, "test": 3080}'
