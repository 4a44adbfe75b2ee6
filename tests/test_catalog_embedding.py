"""The catalogue's embedding model is a setting: remembered, changed, gone, and never mixed with another."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from agent.catalog_commands import _ago
from agent.cli import main
from p2m.catalog.card_embedding import fingerprint, known, named
from p2m.catalog.index.search import CatalogIndex
from p2m.catalog.index.sources import JsonSource
from p2m.catalog.index.store import Store, remembered_model
from p2m.catalog.index.sync import sync
from p2m.errors import BadInput
from p2m.train.embed import DEFAULT_BASE, Embedder
from tests.test_catalog_index import CARDS, jsonl
from tests.test_catalog_index import Embedder as Hashed
from tests.tiny_model import make_encoder

FRUIT = [{"id": "Pears", "contents": "apple pear plum"}, {"id": "Tools", "contents": "hammer saw drill"}]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("P2M_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("P2M_MODELS", raising=False)
    return tmp_path


def model(folder: Path, **files: object) -> Path:
    make_encoder(folder)
    for name, content in files.items():
        file = folder / {"pooling": "1_Pooling/config.json"}.get(name, f"{name}.json")
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content))
    return folder


def test_sync_search_and_a_run_use_the_model_that_was_named_once(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cards, folder = jsonl(home / "cards.jsonl", FRUIT), model(home / "shelf" / "org" / "big")
    monkeypatch.setenv("P2M_MODELS", str(home / "shelf"))
    assert main(["catalog", "sync", "--jsonl", str(cards), "--embedding", "org/big"]) == 0
    assert f"2 embedded by {folder}" in capsys.readouterr().out
    index = home / "home" / "catalog.sqlite"
    assert remembered_model(index) == f"{folder}@{fingerprint(folder)}"
    assert main(["catalog", "sync", "--jsonl", str(cards)]) == 0, "the same model is used on"
    assert "0 embedded by" in capsys.readouterr().out
    assert main(["catalog", "search", "apple", "--json"]) == 0
    said = capsys.readouterr()
    assert "similarity" in said.out and "words alone" not in said.err
    from agent.session import open_catalog

    make = home / "data" / "datasets" / "a" / "b"
    make.mkdir(parents=True)
    catalog = open_catalog(str(home / "data"))
    assert catalog is not None and catalog.seen.model == remembered_model(index)  # type: ignore[attr-defined]


def test_another_model_embeds_all_again_and_the_way_back_costs_nothing(tmp_path: Path) -> None:
    store, source = Store(tmp_path / "c.sqlite"), JsonSource(jsonl(tmp_path / "c.jsonl", CARDS))
    one = jsonl(tmp_path / "one.jsonl", CARDS[:1])
    assert sync(store, source, embed=Hashed(), model="first").embedded == 5
    other = lambda texts: np.ones((len(texts), 8), dtype=np.float32)  # noqa: E731
    again = sync(store, JsonSource(one), embed=other, model="second")
    assert (again.embedded, again.not_embedded) == (5, 0), "also those that this source does not have"
    assert CatalogIndex(store, other).search(["films"])[0].card.kind == "dataset"
    back = sync(store, JsonSource(one), embed=Hashed(), model="first")
    assert (back.embedded, back.not_embedded) == (0, 0)


def test_a_change_of_model_that_is_broken_off_goes_on(tmp_path: Path) -> None:
    store, source = Store(tmp_path / "c.sqlite"), JsonSource(jsonl(tmp_path / "c.jsonl", CARDS))
    sync(store, source, embed=Hashed(), model="first")
    with pytest.raises(KeyboardInterrupt):
        sync(store, source, embed=Hashed(stop_after=0), model="second")
    assert store.fact("model") == "second" and store.count_without_vector() == 5
    assert CatalogIndex(store, Hashed()).search(["films"]), "by words meanwhile"
    assert sync(store, source, embed=Hashed(), model="second").embedded == 5


def test_cosines_of_another_model_weigh_as_much_as_the_packs(tmp_path: Path) -> None:
    """Of some models all cosines lie close together, and the use of a card would decide alone."""
    store = Store(tmp_path / "c.sqlite")
    cards = [{"id": f"c{i}", "contents": f"text {i}", "downloads": 0} for i in range(20)]
    cards[19]["downloads"] = 1000
    order = {f"c{i}. text {i}": i for i in range(20)}

    def close(texts: object) -> np.ndarray:
        angle = [0.02 * order.get(t, 3) for t in texts]  # type: ignore[attr-defined]
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    sync(store, JsonSource(jsonl(tmp_path / "c.jsonl", cards)), embed=close, model="narrow")
    found = CatalogIndex(store, close).search(["zebra"], limit=20)
    assert found[0].card.id == "c3"
    assert max(f.meaning for f in found) - min(f.meaning for f in found) > 0.1


def test_a_model_that_has_gone_or_changed_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cards, folder = jsonl(home / "cards.jsonl", FRUIT), model(home / "big")
    main(["catalog", "sync", "--jsonl", str(cards), "--embedding", str(folder)])
    folder.rename(home / "moved")
    assert main(["catalog", "search", "apple"]) == 0
    assert f"by words alone: it was embedded by {folder}, which is not there any more" in capsys.readouterr().err
    assert main(["catalog", "sync", "--jsonl", str(cards)]) == 2
    assert "--embedding FOLDER, or back to --embedding all-minilm-l6-v2" in capsys.readouterr().err
    make_encoder(folder, positions=48)
    assert "which has changed since" in known(remembered_model(home / "home" / "catalog.sqlite")).problem
    assert main(["catalog", "sync", "--jsonl", str(cards), "--embedding", str(folder)]) == 0
    assert "2 embedded" in capsys.readouterr().out


def test_what_is_no_model_is_one_line(home: Path) -> None:
    with pytest.raises(BadInput, match="no embedding model 'nothing'"):
        named("nothing", None)
    (home / "empty").mkdir()
    with pytest.raises(BadInput, match="config"):
        named(str(home / "empty"), None)
    pickled = model(home / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(BadInput, match="safetensors"):
        named(str(pickled), None)
    assert named(DEFAULT_BASE, "x@y").model == named(None, None).model == DEFAULT_BASE


def test_pooling_length_and_prompts_are_the_models_own(home: Path) -> None:
    plain = model(home / "plain")
    own = model(
        home / "own",
        pooling={"pooling_mode_cls_token": True},
        sentence_bert_config={"max_seq_length": 8},
        config_sentence_transformers={"prompts": {"query": "apple ", "document": "saw "}},
    )
    found = named(str(own), None)
    assert found.queries is not None and found.cards is not None
    cls = Embedder(plain, pooling="cls", max_tokens=8)
    np.testing.assert_allclose(found.queries(["pear"]), cls.embed(["apple pear"]), atol=1e-5)
    np.testing.assert_allclose(found.cards(["pear"]), cls.embed(["saw pear"]), atol=1e-5)
    assert not np.allclose(found.queries(["pear"]), Embedder(plain).embed(["apple pear"]), atol=1e-3)


def test_ages_are_words() -> None:
    def day(days: int) -> str:
        return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d")

    assert [_ago(day(d)) for d in (0, 1, 12, 90)] == ["today", "1 day ago", "12 days ago", "3 months ago"]
