"""The local catalogue: reading cards, syncing them, finding them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from p2m.catalog.index.card import CardKind, IndexCard, plain
from p2m.catalog.index.hub import HubSource
from p2m.catalog.index.mentions import count_mentions
from p2m.catalog.index.search import CatalogIndex, Weights
from p2m.catalog.index.sources import FolderSource, JsonSource
from p2m.catalog.index.store import Store
from p2m.catalog.index.sync import Progress, Report, sync
from p2m.catalog.index.words import terms
from p2m.errors import BadInput, ProviderError
from tests.as_user import environment, p2m
from tests.catalog_folder import make

CARDS = [
    {"id": "MovieTalk", "contents": "Reviews of films with a sentiment, positive or negative.", "variants": ["a", "b"]},
    {"id": "BankChat", "contents": "Questions of customers to a bank, by intent.", "language": "en", "license": "mit"},
    {"id": "Kundenfragen", "contents": "Questions of customers, by intent.", "language": "de", "license": "mit"},
    {"id": "FilmTwo", "contents": "More reviews of films, made like MovieTalk, with a sentiment."},
    {"id": "Birds", "contents": "Photographs of birds in their nests."},
]


def jsonl(path: Path, records: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


class Embedder:
    """Words hashed into 64 dimensions; counts what it was asked."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.asked, self.stop_after = 0, stop_after

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        if self.stop_after is not None and self.asked >= self.stop_after:
            raise KeyboardInterrupt
        self.asked += len(texts)
        vectors = np.zeros((len(texts), 64), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in terms(text):
                row[crc32(word.encode()) % 64] += 1
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def synced(store: Store, path: Path, embed: Embedder | None = None) -> Report:
    return sync(store, JsonSource(path), embed=embed, model="hashed")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "catalog.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def index(store: Store, tmp_path: Path) -> CatalogIndex:
    embed = Embedder()
    synced(store, jsonl(tmp_path / "cards.jsonl", CARDS), embed)
    return CatalogIndex(store, embed)


def test_the_three_kinds_of_file_are_read_as_they_are(tmp_path: Path) -> None:
    paper = {
        "id": "DIV2K",
        "contents": "**DIV2K** is [an image](http://x) set.\r\n\r\nSource: [P](/p)",
        "variants": ["x"],
    }
    (card,) = JsonSource(jsonl(tmp_path / "documents.jsonl", [{**paper, "title": "NTIRE"}]))
    assert (card.kind, card.id, card.title, card.names) == ("dataset", "DIV2K", "NTIRE", ("x",))
    assert card.body == "DIV2K is an image set."

    readme = "---\nlanguage:\n- en\n- fr\nlicense: mit\npipeline_tag: translation\ndatasets: [c4]\n---\n# T5\nText."
    packed = tmp_path / "models.jsonl.gz"
    with gzip.open(packed, "wt", encoding="utf-8") as handle:
        handle.write(json.dumps({"id": "org/t5", "downloads": 7, "size_bytes": "12", "card": readme}) + "\n")
    (card,) = JsonSource(packed)
    assert (card.kind, card.downloads, card.size_bytes, card.license) == ("model", 7, 12, "mit")
    assert (card.languages, card.tasks, card.body) == (("en", "fr"), ("translation",), "T5 Text. Datasets: c4")

    about = [{"config": "v2", "task": "text-classification", "task_id": "multi_class_classification"}]
    document = tmp_path / "index.json"
    document.write_text(json.dumps({"ade": {"name": "ade", "description": "Drugs.", "evaluation_metadata": about}}))
    (card,) = JsonSource(document)
    assert (card.id, card.body, card.names, card.tasks[0]) == ("ade", "Drugs.", ("v2",), "text-classification")


def test_front_matter_that_was_cut_off_still_says_what_it_says(tmp_path: Path) -> None:
    cut = '---\nlanguage: \n- en\n- fr\n\nlicense: apache-2.0\ntags:\n- summarization\nwidget:\n- text: "Who is'
    source = JsonSource(jsonl(tmp_path / "m.jsonl", [{"id": "a/b", "card": cut}]))
    (card,) = source
    assert (card.languages, card.license, card.tasks) == (("en", "fr"), "apache-2.0", ("summarization",))
    assert "no closing" in source.skipped["a/b"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"id": "x", "contents": ', "broken JSON"),
        ('{"name": "x", "rows": 3}', "not a card: it has name, rows"),
        ('{"id": 3, "contents": "y"}', "not a card"),
        ("[1]", "must be a JSON object"),
    ],
)
def test_what_is_no_card_is_named_with_its_line(tmp_path: Path, store: Store, line: str, says: str) -> None:
    path = tmp_path / "cards.jsonl"
    path.write_text(json.dumps(CARDS[0]) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(BadInput, match=says) as caught:
        synced(store, path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert store.count() == 1, "the card before it is kept"


def test_a_folder_is_read_and_a_broken_card_is_said(tmp_path: Path) -> None:
    make(tmp_path, "org/good", "license: mit\nlanguage: en\ntask_categories: [text-classification]")
    make(tmp_path, "org/bad", "license: [mit")
    source = FolderSource(tmp_path)
    (card,) = source
    assert (card.id, card.license, card.tasks, source.total()) == ("org/good", "mit", ("text-classification",), 2)
    assert "YAML is broken" in source.skipped["org/bad"]


def test_a_second_sync_writes_and_embeds_nothing(tmp_path: Path, store: Store) -> None:
    path, embed = jsonl(tmp_path / "cards.jsonl", [*CARDS, CARDS[0]]), Embedder()
    first = synced(store, path, embed)
    assert (first.changes["new"], first.embedded, embed.asked) == (5, 5, 5)
    again = synced(store, path, embed)
    assert (again.changes, again.embedded, embed.asked) == ({"new": 0, "changed": 0, "same": 6}, 0, 5)
    jsonl(path, [{**CARDS[0], "contents": "Now about music."}, *CARDS[1:]])
    third = synced(store, path, embed)
    assert (third.changes["changed"], third.embedded) == (1, 1)
    assert [f.card.id for f in CatalogIndex(store, embed).search(["music"]) if f.words] == ["MovieTalk"]


def test_interrupted_while_embedding_it_goes_on_there(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2m.catalog.index.sync.EMBEDDED_A_COMMIT", 2)
    path, embed = jsonl(tmp_path / "cards.jsonl", CARDS), Embedder(stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        synced(store, path, embed)
    assert (store.count(), store.count_without_vector()) == (5, 3)
    later = Embedder()
    assert synced(store, path, later).embedded == later.asked == 3


def test_interrupted_while_reading_what_was_read_is_kept(store: Store) -> None:
    def listing(kind: CardKind, limit: int) -> Iterator[IndexCard]:
        yield from (IndexCard(kind, f"org/{i}", body="text") for i in range(3))
        raise ProviderError("the Hub failed")

    with pytest.raises(ProviderError):
        sync(store, HubSource(listing), embed=None, model="hashed")
    assert store.count() == 3


def test_progress_says_how_far(tmp_path: Path, store: Store) -> None:
    seen: list[Progress] = []
    path = jsonl(tmp_path / "cards.jsonl", CARDS)
    sync(store, JsonSource(path), embed=Embedder(), model="hashed", progress=seen.append)
    last = {p.stage: (p.done, p.total) for p in seen}
    assert last == {"read": (5, 5), "mentions": (5, 5), "embed": (5, 5)}


def test_mentions_are_counted_once_a_card_and_not_by_the_card_itself() -> None:
    cards = [
        (1, "SNLI", "SNLI is SNLI."),
        (2, "PASCAL VOC 2007", "Like SNLI, unlike SNLI."),
        (3, "PASCAL VOC", "Beyond PASCAL VOC 2007."),
        (4, "org/emotion", "no emotion here"),
        (5, "x", "we use org/emotion and SNLI2"),
    ]
    assert count_mentions(cards) == {1: 1, 2: 1, 4: 1}


def test_search_finds_by_words_and_says_why(index: CatalogIndex) -> None:
    best, second = index.search(["sentiment of film reviews"], limit=2)
    assert {best.card.id, second.card.id} == {"MovieTalk", "FilmTwo"}
    assert best.card.id == "MovieTalk", "it has two names and another card names it"
    assert "words: sentiment, film, reviews" in best.why
    assert "named by 1 other card" in best.why
    plain_words = index.search(["sentiment of film reviews"], weights=Weights(meaning=0, words=1, use=0))
    assert [f.card.id for f in plain_words] != [f.card.id for f in index.search(["birds"])]
    assert all(f.words > 0 for f in plain_words)


def test_several_queries_are_one_search(index: CatalogIndex) -> None:
    assert index.search(["customers", "bank intent"])[0].card.id == "BankChat"


def test_filters_leave_out_and_say_so(index: CatalogIndex) -> None:
    found = index.search(["questions of customers by intent"], language="en", limit=2)
    assert found[0].card.id == "BankChat"
    (left,) = [f for f in found if not f.kept]
    assert left.card.id == "Kundenfragen"
    assert left.why.startswith("its language is de, not en")
    licensed = index.search(["film reviews", "customers"], licenses=["mit"])
    assert {f.card.id for f in licensed if f.kept} == {"BankChat", "Kundenfragen"}
    assert any("its licence is not stated" in f.why for f in licensed if not f.kept)
    assert index.search(["film"], kind="model") == []


@pytest.mark.parametrize("query", ['"', 'film" OR "x', "NEAR(film, 2)", "id:film*", "-film", "фильм", "it's film & co"])
def test_any_query_is_only_words(index: CatalogIndex, query: str) -> None:
    try:
        index.search([query])
    except BadInput as error:
        assert "nothing to search for" in str(error)


def test_a_card_without_embedding_is_found_by_words(store: Store, tmp_path: Path) -> None:
    synced(store, jsonl(tmp_path / "cards.jsonl", CARDS), None)
    assert store.count_without_vector() == 5
    assert CatalogIndex(store, None).search(["birds"])[0].card.id == "Birds"


def test_plain_text_of_markdown() -> None:
    text = "# Title\n\n```\ncode\n```\n<img src=x> A **bold** [link](http://a.b/c) and `x`.\nImage source: [me](x)\n"
    assert plain(text) == "Title A bold link and x ."


def test_only_what_was_seen_at_a_place(store: Store, tmp_path: Path) -> None:
    embed = Embedder()
    first, second = jsonl(tmp_path / "first.jsonl", CARDS[:2]), jsonl(tmp_path / "second.jsonl", CARDS[1:])
    synced(store, first, embed)
    synced(store, second, embed)
    index = CatalogIndex(store, embed)
    for path, cards in ((first, CARDS[:2]), (second, CARDS[1:])):
        found = index.search(["film sentiment customers bank birds"], source=str(path))
        assert {f.card.id for f in found} == {c["id"] for c in cards}
    assert index.search(["film"], source="hub") == []


def test_a_catalogue_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    store = Store(tmp_path / "catalog.sqlite")
    synced(store, jsonl(tmp_path / "cards.jsonl", CARDS), Embedder())
    store.db.execute("DROP TABLE places")
    store.db.execute("PRAGMA user_version = 1")
    store.close()
    again = Store(tmp_path / "catalog.sqlite")
    assert len(again.at(str(tmp_path / "cards.jsonl"))) == again.count() == 5
    again.db.execute("PRAGMA user_version = 99")
    again.close()
    with pytest.raises(BadInput, match="not a catalogue of this version"):
        Store(tmp_path / "catalog.sqlite")


def test_no_card_passes_the_ceiling_of_a_query(index: CatalogIndex) -> None:
    for query in ("film", "film reviews with a sentiment", "birds in nests and zeppelins"):
        scores = [score for _, score in index.words.bm25(query)]
        assert 0 < max(scores) < index.words.ceiling(query)
    assert index.words.ceiling("birds zeppelins") > index.words.ceiling("birds"), "a word that no card has counts"


def test_a_file_that_is_no_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    path.write_text("hello, this is a text of some length, and no database at all")
    with pytest.raises(BadInput, match="not readable as a catalogue"):
        Store(path)
    with pytest.raises(BadInput, match="there is no catalogue yet"):
        Store(tmp_path / "none.sqlite", create=False)


def test_a_card_that_names_other_languages_is_no_match_for_one(tmp_path: Path) -> None:
    cards = [
        {"id": "viet", "contents": "A Vietnamese-English system of reviews.", "downloads": 10**7, "kind": "model"},
        {"id": "plain", "contents": "Labels reviews.", "kind": "model"},
        {"id": "french", "contents": "Labels French reviews.", "kind": "model"},
    ]
    store = Store(tmp_path / "c.sqlite")
    synced(store, jsonl(tmp_path / "c.jsonl", cards), Embedder())
    index = CatalogIndex(store, Embedder())
    found = index.search(["reviews labels"], language="fr")
    assert {f.card.id for f in found if f.kept} == {"plain", "french"}
    (left_out,) = (f for f in found if not f.kept)
    assert left_out.card.id == "viet" and "names another language, not fr" in left_out.why
    assert {f.card.id for f in index.search(["reviews labels"], language="en") if f.kept} == {"viet", "plain", "french"}


def test_fame_does_not_beat_fit_among_models(tmp_path: Path) -> None:
    cards = [{"id": f"m{i}", "contents": f"Something else {i}.", "downloads": i, "kind": "model"} for i in range(9)]
    cards += [{"id": "famous", "contents": "Reviews.", "downloads": 10**7, "kind": "model"}]
    cards += [{"id": "fits", "contents": "Sentiment of French reviews.", "downloads": 5, "kind": "model"}]
    store = Store(tmp_path / "c.sqlite")
    synced(store, jsonl(tmp_path / "c.jsonl", cards), Embedder())
    found = CatalogIndex(store, Embedder()).search(["sentiment of French reviews of films"])
    assert [f.card.id for f in found[:2]] == ["fits", "famous"]


def test_the_command_line(tmp_path: Path) -> None:
    env, path = environment(tmp_path), jsonl(tmp_path / "cards.jsonl", CARDS)
    nothing = p2m("catalog", "search", "film", cwd=tmp_path, env=env)
    assert nothing.returncode == 2
    assert "there is no catalogue yet" in nothing.stderr
    done = p2m("catalog", "sync", "--jsonl", str(path), cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert "5 cards read: 5 new" in done.stdout
    assert "p2m pull all-minilm-l6-v2" in done.stdout, "the home is empty: words alone"
    found = p2m("catalog", "search", "film reviews", "--limit", "2", "--json", cwd=tmp_path, env=env)
    hits = [json.loads(line) for line in found.stdout.splitlines()]
    assert [h["id"] for h in hits] == ["MovieTalk", "FilmTwo"]
    assert all(h["kept"] and h["last_seen"] and h["why"] for h in hits)
    shown = p2m("catalog", "search", "film reviews", cwd=tmp_path, env=env)
    assert " 1. MovieTalk (dataset)" in shown.stdout
    (tmp_path / "bad.jsonl").write_text("{}\n")
    bad = p2m("catalog", "sync", "--jsonl", "bad.jsonl", cwd=tmp_path, env=env)
    assert bad.returncode == 2
    assert bad.stderr.startswith("p2m: bad.jsonl:1: not a card")
    (tmp_path / "cut.jsonl").write_text(json.dumps(CARDS[0]) + '\n{"id": "x", "contents": \n')
    cut = p2m("catalog", "sync", "--jsonl", "cut.jsonl", cwd=tmp_path, env=env)
    assert cut.returncode == 2 and "cut.jsonl:2: broken JSON" in cut.stderr
    assert "Mend or remove the line and run it again; 5 cards are kept" in cut.stderr


def test_the_hub_where_it_is_switched_off(tmp_path: Path) -> None:
    env = environment(tmp_path) | {"HF_HUB_OFFLINE": "1"}
    done = p2m("catalog", "sync", "--hub", cwd=tmp_path, env=env)
    assert done.returncode == 4
    assert "the Hub is switched off here (HF_HUB_OFFLINE)" in done.stderr
    assert len(done.stderr.splitlines()) == 1
