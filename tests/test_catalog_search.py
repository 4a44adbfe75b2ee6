"""Search over the shared folder of real datasets."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2m.catalog.base import Hit
from p2m.catalog.embedding import default_embed
from p2m.catalog.folder import FolderCatalog
from p2m.task.spec import Kind
from tests.catalog_folder import BANKING, make


@pytest.fixture(scope="module")
def hub(shared: Path) -> FolderCatalog:
    return FolderCatalog(shared / "hub")


def found(hub: FolderCatalog, queries: list[str], labels: tuple[str, ...], *, kind: Kind = "classify") -> list[Hit]:
    """Hits, once by words alone and once with the embedder where it is there: both must agree on what fits."""
    plain = hub.search(queries, kind=kind, language="en", limit=5, labels=labels)
    if (embed := default_embed()) is None:
        return plain
    hub.embed = embed
    try:
        fused = hub.search(queries, kind=kind, language="en", limit=5, labels=labels)
    finally:
        hub.embed = None
    assert [h.id for h in fused if h.fit == "yes"][:1] == [h.id for h in plain if h.fit == "yes"][:1]
    return fused


@pytest.mark.parametrize(
    ("queries", "labels", "expected"),
    [
        (["online banking customer questions", "banking intents"], BANKING, "polyai/banking77"),
        (["customer support", "money"], BANKING, "polyai/banking77"),
        (["sms spam", "text message filter"], ("spam", "ham"), "uci/sms-spam-collection"),
        (["spam detection", "sms spam"], ("spam", "not spam"), "uci/sms-spam-collection"),
        (["voice assistant requests"], ("play music", "get weather", "book restaurant"), "snips/nlu-benchmark"),
    ],
)
def test_the_right_dataset_is_first(
    hub: FolderCatalog, queries: list[str], labels: tuple[str, ...], expected: str
) -> None:
    best = found(hub, queries, labels)[0]
    assert (best.id, best.fit) == (expected, "yes")
    assert best.labels_matched == len(labels)
    assert "labels are in it" in best.why


def test_assistant_intents_find_assistant_datasets(hub: FolderCatalog) -> None:
    labels = ("set alarm", "play music", "weather", "calendar")
    fits = [h.id for h in found(hub, ["voice assistant intents", "smart home commands"], labels) if h.fit == "yes"]
    assert fits
    assert set(fits) <= {"xliuhw/hwu64", "clinc/clinc-oos-small", "snips/nlu-benchmark"}


@pytest.mark.parametrize(
    ("queries", "labels"),
    [
        (["sentiment analysis", "movie review sentiment", "positive negative"], ("positive", "negative")),
        (["is the question grammatical", "yes no"], ("yes", "no")),
        (["recipe cuisine", "cooking"], ("italian", "thai", "mexican", "french")),
    ],
)
def test_nothing_fits_where_there_is_nothing(hub: FolderCatalog, queries: list[str], labels: tuple[str, ...]) -> None:
    hits = found(hub, queries, labels)
    assert [h.id for h in hits if h.fit == "yes"] == []


def test_generation_tasks_are_found_by_subject(hub: FolderCatalog) -> None:
    best = found(hub, ["bash command from English", "shell one-liner"], (), kind="generate")[0]
    assert (best.id, best.fit) == ("tellina/nl2bash", "yes")
    hits = found(hub, ["write a poem about the sea"], (), kind="generate")
    assert all(h.fit == "no" for h in hits)


def test_another_language_is_a_penalty_and_said(tmp_path: Path) -> None:
    rows = [{"text": f"hello {i}", "label": "spam" if i % 2 else "ham"} for i in range(20)]
    make(tmp_path, "a/german", "license: mit\nlanguage: de", rows)
    make(tmp_path, "b/english", "license: mit\nlanguage: en", rows)
    catalog = FolderCatalog(tmp_path)
    for language, first in (("en", "b/english"), ("de", "a/german")):
        hits = catalog.search(["messages"], kind="classify", language=language, limit=5, labels=("spam", "ham"))
        assert next(h.id for h in hits) == first
        assert len(hits) == 2
        assert f"not {language}" in hits[1].why


def test_another_kind_of_task_is_left_out(tmp_path: Path) -> None:
    rows = [{"text": f"hello {i}", "label": "a" if i % 2 else "b"} for i in range(20)]
    make(tmp_path, "a/tokens", "license: mit\ntask_categories: [token-classification]", rows)
    catalog = FolderCatalog(tmp_path)
    assert catalog.search(["messages"], kind="classify", language="en", limit=5, labels=("spam", "ham")) == []
    assert catalog.search(["messages"], kind="extract", language="en", limit=5) != []
