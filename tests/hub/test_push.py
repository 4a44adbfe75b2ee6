"""p2m push: what goes out, what stays, and what the Hub may say to it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.cli import main
from agent.runs import load_state
from p2m.evaluate.intervals import Estimate
from p2m.export.card import CardFacts, write_card
from p2m.store import Store
from tests.catalog_folder import make
from tests.hub import LoopbackHub
from tests.hub.server import TOKEN
from tests.scripted_run import finished_run
from tests.tiny_model import make_encoder

DELIVERED = {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run, with what may lie about in its folders."""
    folder = tmp_path / "run"
    state, store = finished_run(folder)
    assert state.delivery is not None
    with store.writing(state.delivery["model"]) as made:
        (made / "meta.json").write_text('{"removed": {"held_out_near": 2, "repeated": 1}}')
    make_encoder(folder / "model")
    facts = CardFacts(
        name="question-type",
        instruction="Say it.",
        labels=("a", "b"),
        language="en",
        base="all-minilm-l6-v2",
        method="full",
        estimate=Estimate("accuracy", 0.8, 0.7, 0.9, 100),
        held_out_source="user",
        baselines=(),
        rows_by_source={"generated": 5},
    )
    write_card(folder / "model", facts)
    for extra in (".env", "notes.log", "optimizer.pt", "journal.jsonl", "training_args.bin"):
        (folder / "model" / extra).write_text(f"HF_TOKEN={TOKEN}")
    (folder / "model" / "cache").mkdir()
    (folder / "model" / "cache" / "config.json").write_text("{}")
    (folder / "model" / "vocab.txt").symlink_to("/etc/passwd")
    return folder


@pytest.fixture
def token(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> LoopbackHub:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return hub


def pushed(hub: LoopbackHub, kind: Any, repo: str) -> dict[str, bytes]:
    found = hub.tree.repo(kind, repo)
    return {} if found is None else {p: f.read_bytes() for p, f in found.files().items()}


def test_the_delivered_files_go_out_and_nothing_else(
    run: Path, token: LoopbackHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(run), "me/question-type", "--private"]) == 0
    assert capsys.readouterr().out == f"{token.url}/me/question-type\n"
    files = pushed(token, "models", "me/question-type")
    assert set(files) == DELIVERED
    assert files["model.safetensors"] == (run / "model" / "model.safetensors").read_bytes()
    assert b"PATH_OF_THIS_FOLDER" not in files["README.md"] and b'model="me/question-type"' in files["README.md"]
    assert not any(TOKEN.encode() in data for data in files.values())
    assert token.about("models", "me/question-type").private
    assert not pushed(token, "datasets", "me/question-type")


def test_the_rows_go_out_with_where_they_are_from(run: Path, token: LoopbackHub) -> None:
    assert main(["push", str(run), "me/question-type", "--dataset"]) == 0
    files = pushed(token, "datasets", "me/question-type")
    assert set(files) == {"README.md", "train.jsonl"}
    rows = [json.loads(line) for line in files["train.jsonl"].splitlines()]
    state, store = load_state(run), Store(run / "artifacts")
    trained = {(r.input, r.output) for d in state.workspace.experiments[-1].data for r in store.rows(d)}
    assert {(r["text"], r["label"]) for r in rows} == trained | {(e.input, e.output) for e in state.task.examples}
    assert {r["source"] for r in rows} == {"generated", "demonstration"}
    text = files["README.md"].decode()
    header = yaml.safe_load(text[3:].partition("\n---")[0])
    assert header["tags"] == ["p2m"] and header["license"] == "other"
    assert f"| {sum(r['source'] == 'generated' for r in rows):,} | written by a language model" in text
    assert "left out 2 (held_out_near)" in text
    assert not token.about("models", "me/question-type").private


def test_a_second_push_updates_what_p2m_made_and_nothing_else(
    run: Path, token: LoopbackHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(run), "me/x"]) == 0
    card = run / "model" / "README.md"
    card.write_text(card.read_text() + "\nMore.\n")
    assert main(["push", str(run), "me/x"]) == 0
    assert pushed(token, "models", "me/x")["README.md"].endswith(b"More.\n")
    assert main(["push", str(run), "me/x", "--private"]) == 2
    assert "already and public" in capsys.readouterr().err
    folder = make(token.tree.root, "me/x-data")
    folder.rename(token.tree.root / "models" / "me" / "theirs")
    assert main(["push", str(run), "me/theirs"]) == 2
    assert "p2m did not make it" in capsys.readouterr().err
    assert set(pushed(token, "models", "me/theirs")) == {"README.md", "train.jsonl"}


@pytest.mark.parametrize(
    ("repo", "given", "fault", "code", "said"),
    [
        ("me/x", None, None, 2, "no token"),
        ("me/x", "hf_wrongwrongwrongwrong", None, 4, "refused the token for pushing to me/x (401)"),
        ("them/x", TOKEN, None, 4, "does not allow pushing to them/x with this token (403)"),
        ("me/x", TOKEN, ("/commit/", 409), 4, "in conflict with what is there (409)"),
        ("me/x", TOKEN, ("/api/repos/create", 500), 4, "failed on pushing to me/x (500)"),
        ("x", TOKEN, None, 2, "ORG/NAME"),
        ("me/../x", TOKEN, None, 2, "ORG/NAME"),
    ],
)
def test_each_failure_is_one_line_with_its_exit_code(
    repo: str,
    given: str | None,
    fault: tuple[str, int] | None,
    code: int,
    said: str,
    run: Path,
    hub: LoopbackHub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if given:
        monkeypatch.setenv("HF_TOKEN", given)
    if fault:
        hub.fail(*fault, times=99)
    assert main(["push", str(run), repo]) == code
    err = capsys.readouterr().err
    assert said in err and err.startswith("p2m: ") and err.count("\n") == 1
    assert not given or given not in err


def test_a_key_in_a_row_stops_the_push_before_anything_is_out(
    run: Path, token: LoopbackHub, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "sk-" + "a1b2c3d4" * 4
    (file,) = [f for f in (run / "artifacts").glob("ds_bbbb0002/rows.jsonl")]
    file.write_text(file.read_text().replace("Question number 1 about human", f"my key is {key}", 1))
    assert main(["push", str(run), "me/x", "--dataset"]) == 2
    err = capsys.readouterr().err
    assert "train.jsonl:" in err and "nothing was uploaded" in err and key not in err
    assert not token.writer.commits and not token.tree.repo("models", "me/x")


def test_an_unfinished_run_has_nothing_to_push(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.scripted_run import unfinished_run

    unfinished_run(tmp_path / "half")
    assert main(["push", str(tmp_path / "half"), "me/x"]) == 2
    assert "p2m resume" in capsys.readouterr().err
    assert "HF_TOKEN" not in os.environ
