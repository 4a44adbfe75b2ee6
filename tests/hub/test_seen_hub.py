"""The local catalogue in a run's search of the Hub: what was seen before is found, and only where it was seen."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from p2m.catalog import hubclient
from p2m.catalog.folder import FolderCatalog
from p2m.catalog.hub import HubCatalog
from p2m.catalog.hubclient import HubClient
from p2m.catalog.index.hub import HubSource
from p2m.catalog.index.search import CatalogIndex
from p2m.catalog.index.seen import Seen
from p2m.catalog.index.store import Store
from p2m.catalog.index.sync import sync
from p2m.catalog.safety import Settings
from p2m.task.spec import TaskSpec
from tests.bag_of_words import embed
from tests.catalog_folder import make
from tests.hub import LoopbackHub
from tests.tiny_model import make_encoder
from tests.tool_call import call, context
from tools.search_datasets import search_datasets
from tools.workspace import Workspace

CLASSIFY = "license: mit\nlanguage: en\ntask_categories: [text-classification]"
ASK: dict[str, Any] = {"kind": "classify", "language": "en", "limit": 5, "labels": ["spam", "ham"]}
QUERIES = ["unwanted advertising", "phone messages"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubclient, "_wait", lambda state: 0.0)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)


def seen_at(path: Path) -> Seen:
    return Seen(path / "catalog.sqlite", embed, model="hashed")


def hidden(hub: LoopbackHub, name: str = "b/mobile", front: str = "license: mit", says: str = "") -> None:
    """A dataset that no listing of these queries gives: its id has none of their words, its card no tags."""
    folder = make(hub.tree.root, name, front)
    says = says or "Unwanted advertising and other messages on a phone."
    (folder / "README.md").write_text(f"---\n{front}\n---\n{says}\n")
    hub.fail("/api/search/full-text", 500, times=99)


def asked_for(hub: LoopbackHub, dataset: str) -> bool:
    return any(p.split("?")[0].startswith(f"/api/datasets/{dataset}") for p in hub.paths())


def test_who_synced_finds_what_the_listings_do_not_give(hub: LoopbackHub, tmp_path: Path) -> None:
    make(hub.tree.root, "a/phone-words", CLASSIFY, [{"text": f"m {i}", "label": "ab"[i % 2]} for i in range(20)])
    hidden(hub)
    before = HubCatalog(HubClient(hub.url), embed, seen=seen_at(tmp_path / "empty"))
    assert "b/mobile" not in {h.id for h in before.search(QUERIES, **ASK)} and not asked_for(hub, "b/mobile")

    store = Store(tmp_path / "catalog.sqlite")
    sync(store, HubSource(), embed=embed, model="hashed")
    store.close()
    catalog = HubCatalog(HubClient(hub.url), embed, seen=seen_at(tmp_path))
    best = catalog.search(QUERIES, **ASK)[0]
    assert (best.id, best.fit, best.labels_matched) == ("b/mobile", "yes", 2)
    assert "known since 20" in best.why
    assert len(list(catalog.rows("b/mobile", "train"))) == 30


def test_what_a_search_sees_is_kept_with_its_date(hub: LoopbackHub, tmp_path: Path) -> None:
    make(hub.tree.root, "a/spam-mail", f"{CLASSIFY}\npretty_name: Mail\ntags: [letters]")
    make_encoder(hub.tree.root / "models" / "tiny" / "encoder", positions=64)
    (hub.tree.root / "models/tiny/encoder/README.md").write_text(
        "---\nlicense: mit\nlanguage: en\npipeline_tag: fill-mask\n---\n"
    )
    catalog = HubCatalog(HubClient(hub.url), embed, seen=seen_at(tmp_path))
    catalog.search(["spam mail"], **ASK)
    catalog.base_models.rank(TaskSpec(name="mail", instruction="x", kind="classify", labels=("spam", "ham")))
    store = Store(tmp_path / "catalog.sqlite")
    found = CatalogIndex(store, embed).search(["letters mail"])
    card = found[0].card
    assert (card.id, card.title, card.license, card.source) == ("a/spam-mail", "Mail", "mit", hub.url)
    assert found[0].meaning > 0 and len(found[0].seen) == len("2026-11-24")
    assert store.count("model") == 1 and len(store.at(hub.url)) == 2 and store.count_without_vector() == 0
    report = sync(store, HubSource(), embed=embed, model="hashed")
    assert (report.changes["same"], report.embedded) == (2, 0), "a sync sees the same cards as a search"


def test_what_was_seen_elsewhere_is_not_asked_of_this_hub(hub: LoopbackHub, tmp_path: Path) -> None:
    says = "Unwanted advertising and other phone messages, the best there are."
    other = tmp_path / "folder"
    (make(other, "c/in-a-folder") / "README.md").write_text(f"---\nlicense: mit\n---\n{says}\n")
    seen = seen_at(tmp_path)
    FolderCatalog(other, embed, seen=seen).search(QUERIES, **ASK)
    with Path(other / "cards.jsonl").open("w") as handle:
        handle.write('{"id": "c/in-a-file", "contents": "Unwanted advertising, phone messages."}\n')
    from p2m.catalog.index.sources import JsonSource

    store = Store(tmp_path / "catalog.sqlite")
    sync(store, JsonSource(other / "cards.jsonl"), embed=embed, model="hashed")
    assert store.count() == 2
    make(hub.tree.root, "a/spam", CLASSIFY)
    hub.fail("/api/search/full-text", 500, times=99)
    catalog = HubCatalog(HubClient(hub.url), embed, seen=seen)
    assert [h.id for h in catalog.search([*QUERIES, "spam"], **ASK)] == ["a/spam"]
    assert not asked_for(hub, "c/") and not catalog.unreadable()
    folder = FolderCatalog(other, embed, seen=seen_at(tmp_path))
    assert [h.id for h in folder.search([*QUERIES, "spam"], **ASK)] == ["c/in-a-folder"], "the Hub's are not in it"


def test_another_language_kind_or_licence_is_not_opened(hub: LoopbackHub, tmp_path: Path) -> None:
    hidden(hub)
    hidden(hub, "d/german", "license: mit\nlanguage: de")
    hidden(hub, "d/tokens", "license: mit\ntask_categories: [token-classification]")
    hidden(hub, "d/not-commercial", "license: cc-by-nc-4.0\nlanguage: en")
    store = Store(tmp_path / "catalog.sqlite")
    sync(store, HubSource(), embed=embed, model="hashed")
    allowed = Settings(licenses=("mit",))
    catalog = HubCatalog(HubClient(hub.url), embed, allowed, seen_at(tmp_path))
    assert [h.id for h in catalog.search(QUERIES, **ASK)] == ["b/mobile"]
    assert not asked_for(hub, "d/")
    assert list(catalog.unreadable()) == ["d/not-commercial"]
    assert "refused (license rule)" in catalog.unreadable()["d/not-commercial"]


def test_what_has_gone_since_is_said_and_spoils_nothing(hub: LoopbackHub, tmp_path: Path) -> None:
    hidden(hub, "b/gone")
    hidden(hub, "b/there")
    store = Store(tmp_path / "catalog.sqlite")
    sync(store, HubSource(), embed=embed, model="hashed")
    shutil.rmtree(hub.tree.root / "datasets/b/gone")
    catalog = HubCatalog(HubClient(hub.url), embed, seen=seen_at(tmp_path))
    task = TaskSpec(name="t", instruction="x", kind="classify", labels=("spam", "ham"))
    result, ctx = call(search_datasets, context(tmp_path, task, Workspace(), catalog=catalog), queries=QUERIES)
    assert [h["id"] for h in ctx.workspace.hits] == ["b/there"]
    assert "1 could not be read (b/gone: " in result.text and "not looked at: b/gone: " in result.display


def test_a_broken_local_catalogue_costs_nothing_else(hub: LoopbackHub, tmp_path: Path) -> None:
    make(hub.tree.root, "a/spam", CLASSIFY)
    (tmp_path / "catalog.sqlite").write_text("this is a text of some length, and it is no database at all")
    catalog = HubCatalog(HubClient(hub.url), embed, seen=seen_at(tmp_path))
    assert [h.id for h in catalog.search(["spam"], **ASK)] == ["a/spam"]
    assert "not readable as a catalogue" in catalog.unreadable()["the local catalogue"]


def test_all_queries_reach_the_local_catalogue(hub: LoopbackHub, tmp_path: Path) -> None:
    """Each of six queries is about one dataset: all six are looked into, whichever query comes first."""
    subjects = ("harbours", "violins", "glaciers", "tractors", "lanterns", "sparrows")
    for subject in subjects:
        hidden(hub, f"x/{subject[:2]}", says=f"Letters on {subject}.")
    for number in range(40):
        hidden(hub, f"y/n{number}", says=f"Something else, number {number}.")
    store = Store(tmp_path / "catalog.sqlite")
    sync(store, HubSource(), embed=embed, model="hashed")
    for queries in (subjects, subjects[::-1]):
        catalog = HubCatalog(HubClient(hub.url), embed, seen=seen_at(tmp_path))
        hits = catalog.search([f"letters on {s}" for s in queries], **{**ASK, "limit": 8})
        assert {h.id for h in hits} >= {f"x/{s[:2]}" for s in subjects}
