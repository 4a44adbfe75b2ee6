"""Base models of the Hub: fit before fame, and nothing fetched but what trains."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from p2m.catalog.hub import HubCatalog
from p2m.catalog.hub_models import HubModel, excluded, rank_candidates
from p2m.catalog.hubclient import HubClient, HubError
from p2m.catalog.purpose import translates_backwards
from p2m.catalog.safety import Refused, Settings
from p2m.task.spec import Example, StudentLimits, TaskSpec
from tests.hub import LoopbackHub
from tests.tiny_model import make_encoder
from tests.tool_call import call, context
from tools.fine_tune import _base
from tools.rank_models import rank_models
from tools.workspace import Workspace


def put(hub: LoopbackHub, name: str, card: str, *, downloads: int = 0, rows: int = 1000, **config: Any) -> Path:
    import numpy as np
    from safetensors.numpy import save_file

    folder = hub.tree.root / "models" / name
    folder.mkdir(parents=True)
    whole = {"model_type": "bert", "max_position_embeddings": 512, **config}
    (folder / "config.json").write_text(json.dumps(whole))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "README.md").write_text(f"---\n{card}\n---\n# {name}\n")
    if rows:
        save_file({"w": np.zeros((rows, 1000), dtype=np.float16)}, folder / "model.safetensors")
    hub.about("models", name).downloads = downloads
    return folder


def card(language: str, pipeline: str = "fill-mask", license: str = "mit") -> str:
    return f"license: {license}\nlanguage: {language}\npipeline_tag: {pipeline}"


def task(language: str = "fr", **limits: Any) -> TaskSpec:
    example = Example(input=limits.pop("example", "Où est ma commande ?"), output="a")
    return TaskSpec(
        name="support-tickets",
        instruction="Route the support tickets.",
        kind="classify",
        labels=("a", "b"),
        examples=(example,),
        language=language,
        student=StudentLimits(**limits),
    )


@pytest.fixture(autouse=True)
def _no_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2M_HOME", str(tmp_path / "empty"))
    monkeypatch.delenv("P2M_MODELS", raising=False)


def test_a_french_task_gets_a_french_encoder_not_a_famous_translator(hub: LoopbackHub, tmp_path: Path) -> None:
    put(hub, "vi/translator", card("[vi, fr]", "translation"), downloads=9_000_000, model_type="marian")
    put(hub, "vi/translator-as-mask", card("[vi, en]"), downloads=9_000_000)
    put(hub, "big/famous-english", card("en"), downloads=90_000_000)
    put(hub, "big/famous-multi", card("[en, fr, de, vi, zh, ja, multilingual]"), downloads=60_000_000)
    put(hub, "fr/camembert", card("fr"), downloads=3_000, model_type="camembert")
    put(hub, "fr/fine-tuned", card("fr", "text-classification"), downloads=500_000)
    put(hub, "fr/noncommercial", card("fr", license="cc-by-nc-4.0"))
    put(hub, "fr/huge", card("fr"), rows=400_000)
    put(hub, "fr/pickle", card("fr"), rows=0)
    put(hub, "fr/code", card("fr"), auto_map={"AutoModel": "x.X"})
    put(hub, "fr/short", card("fr"), max_position_embeddings=32)
    put(hub, "fr/unlicensed", "language: fr\npipeline_tag: fill-mask")
    hub.about("models", "fr/gated").gated = "auto"
    put(hub, "fr/gated", card("fr"))
    catalog = HubCatalog(HubClient(hub.url))
    asked = task(example="long " * 100, licenses=("mit", "apache-2.0"), max_parameters_m=200)
    result, ctx = call(rank_models, context(tmp_path, asked, Workspace(), catalog=catalog))
    assert result.text.startswith("Start from fr/camembert.")
    assert [m["id"] for m in ctx.workspace.models if m["kept"]] == ["fr/camembert", "big/famous-multi"]
    why = {m["id"]: m["why"] for m in ctx.workspace.models if not m["kept"]}
    assert "vi/translator" not in [m["id"] for m in ctx.workspace.models if m["kept"]]
    assert "licence is cc-by-nc-4.0" in why["fr/noncommercial"]
    assert "400M parameters; the limit is 200M" in why["fr/huge"]
    assert "pickle rule" in why["fr/pickle"] and "remote_code rule" in why["fr/code"]
    assert "gated rule" in why["fr/gated"] and "licence" in why["fr/unlicensed"]
    assert "reads 32 tokens and would cut 1 of 1 texts: the texts have up to 125" in why["fr/short"]
    assert not [p for p in hub.paths() if p.endswith(".safetensors")], "nothing is downloaded to be ranked"


def test_each_rule_says_its_reason() -> None:
    model = HubModel("a/b", "0" * 40, 100.0, "bert", True, False, "mit", ("fr",), 5, purpose="fill-mask")
    assert excluded(task(), model, Settings()) is None
    assert "translation" in str(excluded(task(), replace(model, purpose="translation"), Settings()))
    assert "language is vi" in str(excluded(task(), replace(model, language=("vi",)), Settings()))
    assert "not stated" in str(excluded(task(), replace(model, language=()), Settings()))
    assert "marian model cannot" in str(
        excluded(task(), replace(model, model_type="marian", encoder=False), Settings())
    )
    assert "license rule" in str(excluded(task(), replace(model, license="other"), Settings()))
    assert excluded(task(), replace(model, license="other"), Settings(allow_unknown_license=True)) is None
    assert "how many parameters" in str(excluded(task(), replace(model, parameters_m=None), Settings()))
    assert "300M" in str(excluded(task(), replace(model, parameters_m=500.0), Settings()))


def test_a_translator_must_know_both_languages_and_fame_does_not_beat_fit() -> None:
    words = "Translate French sentences into English."
    asked = TaskSpec(name="fr-en", instruction=words, kind="generate", metric="chrf", language="fr")
    plain = HubModel("a/b", "", 70.0, "marian", False, False, "mit", (), 5, purpose="translation")
    models = [
        replace(plain, id="vi/translator", language=("vi", "en"), downloads=90_000_000),
        replace(plain, id="fr/to-vi", language=("fr", "vi"), downloads=90_000_000),
        replace(plain, id="famous/all", language=("en", "fr", "de", "vi", "zh", "ja"), downloads=90_000_000),
        replace(plain, id="small/fr-en", language=("fr", "en"), about="translates French sentences into English"),
        replace(plain, id="famous/summaries", language=("fr", "en"), purpose="summarization", downloads=90_000_000),
        replace(plain, id="no/words"),
    ]
    ranked = rank_candidates(asked, models, Settings(), None)
    assert [r.model.id for r in ranked if r.kept] == ["small/fr-en", "famous/all"]
    why = {r.model.id: r.why for r in ranked if not r.kept}
    assert why["vi/translator"] == "its language is vi/en, the task's is fr and en"
    assert "language is fr/vi" in why["fr/to-vi"] and "made for summarization" in why["famous/summaries"]
    assert "no/words" in why


@pytest.mark.parametrize(
    ("name", "backwards"),
    [
        ("Helsinki-NLP/opus-mt-vi-en", False),
        ("Helsinki-NLP/opus-mt-en-vi", True),
        ("vinai/vinai-translate-en2vi", True),
        ("x/en_to_vi", True),
        ("x/vi-en-vi", False),
        ("google/mt5-small", False),
    ],
)
def test_a_translator_of_the_other_direction_comes_later(name: str, backwards: bool) -> None:
    words = "Translate Vietnamese sentences into English."
    task = TaskSpec(name="t", instruction=words, kind="generate", metric="chrf", language="vi")
    assert translates_backwards(task, name) is backwards
    assert not translates_backwards(task.model_copy(update={"instruction": "Summarise Vietnamese sentences."}), name)


def test_only_what_trains_is_fetched_and_pinned(hub: LoopbackHub, tmp_path: Path) -> None:
    folder = hub.tree.root / "models" / "fr" / "tiny"
    make_encoder(folder)
    (folder / "README.md").write_text(f"---\n{card('fr')}\n---\n")
    for extra in ("pytorch_model.bin", "modeling.py", "onnx/model.onnx", "onnx/model.safetensors", "run.sh"):
        (folder / extra).parent.mkdir(exist_ok=True)
        (folder / extra).write_bytes(b"no")
    repo = hub.tree.repo("models", "fr/tiny")
    assert repo is not None
    catalog = HubCatalog(HubClient(hub.url))
    _, ctx = call(rank_models, context(tmp_path, task(), Workspace(), catalog=catalog))
    (entry,) = ctx.workspace.models
    assert (entry["id"], entry["revision"], entry["path"]) == ("fr/tiny", repo.sha(), "")
    name, local = _base(ctx, None)
    assert name == "fr/tiny"
    got = {p.relative_to(local).as_posix() for p in local.rglob("*") if p.is_file()}
    assert got == {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    from p2m.train.student import Student

    assert Student(local, ("a", "b")).module is not None


def test_a_model_that_changes_into_a_bad_one_is_not_loaded(hub: LoopbackHub) -> None:
    folder = put(hub, "fr/tiny", card("fr"), auto_map={"AutoModel": "x.X"})
    repo = hub.tree.repo("models", "fr/tiny")
    assert repo is not None
    models = HubCatalog(HubClient(hub.url)).base_models
    with pytest.raises(Refused, match="remote_code rule"):
        models.fetch("fr/tiny", repo.sha())
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["x.X", null]}}')
    with pytest.raises(Refused, match="remote_code rule"):
        models.fetch("fr/tiny", repo.sha())


def test_a_hub_that_fails_leaves_the_local_models(hub: LoopbackHub, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("P2M_MODELS", str(tmp_path / "models"))
    make_encoder(tmp_path / "models" / "me" / "tiny")
    dead = HubCatalog(HubClient("http://127.0.0.1:9"))
    result, _ = call(rank_models, context(tmp_path, task("en"), Workspace(), catalog=dead))
    assert result.text.startswith("Start from me/tiny.")
    assert "The Hub gave no models: no connection" in result.text


def test_what_is_here_comes_first_unless_it_cannot_read_the_language(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("P2M_MODELS", str(tmp_path / "models"))
    here = make_encoder(tmp_path / "models" / "me" / "tiny")
    (here / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n")
    put(hub, "fr/small", card("fr"))
    put(hub, "en/small", card("en"))
    catalog = HubCatalog(HubClient(hub.url))
    for asked, order in (
        (task("en"), ["me/tiny", "en/small"]),
        (task("fr"), ["fr/small", "me/tiny"]),
        (task("en", base="en/small"), ["en/small", "me/tiny"]),
    ):
        _, ctx = call(rank_models, context(tmp_path, asked, Workspace(), catalog=catalog))
        assert [m["id"] for m in ctx.workspace.models if m["kept"]] == order


def test_a_base_that_cannot_be_fetched_gives_way_to_the_next(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("p2m.catalog.hubclient._wait", lambda state: 0.0)
    monkeypatch.setenv("P2M_MODELS", str(tmp_path / "models"))
    here = make_encoder(tmp_path / "models" / "me" / "tiny")
    (here / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n")
    put(hub, "fr/small", card("fr"))
    said: list[str] = []
    parts = {"catalog": HubCatalog(HubClient(hub.url)), "progress": lambda text, share: said.append(text)}
    _, ctx = call(rank_models, context(tmp_path, task("fr"), Workspace(), **parts))
    hub.fail("/api/models/fr/small", 500, times=99)
    assert _base(ctx, None) == ("me/tiny", here.resolve())
    assert any("fr/small cannot be fetched" in text and "(500)" in text for text in said)
    with pytest.raises(HubError, match="failed on the model fr/small"):
        _base(ctx, "fr/small")
