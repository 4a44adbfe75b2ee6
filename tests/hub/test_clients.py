"""The real clients against the loopback hub: what the Hub does to them, it does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.catalog_folder import ROWS, files, make
from tests.conftest import ROOT
from tests.hub import LoopbackHub
from tests.hub.conftest import child_environment
from tests.hub.server import TOKEN
from tests.tiny_model import make_encoder


@pytest.fixture
def api(hub: LoopbackHub) -> HfApi:
    return HfApi(endpoint=hub.url, token=False)


def test_a_search_follows_the_pages(hub: LoopbackHub, api: HfApi) -> None:
    hub.page = 3
    for i in range(10):
        make(hub.tree.root, f"a/spam-{i}", "license: mit\nlanguage: en\ntask_categories: [text-classification]")
        hub.about("datasets", f"a/spam-{i}").downloads = i
    make(hub.tree.root, "b/german-spam", "license: mit\nlanguage: de")
    make(hub.tree.root, "b/other")
    found = list(api.list_datasets(search="SPAM", filter=["language:en"], sort="downloads"))
    assert [d.id for d in found] == [f"a/spam-{i}" for i in range(9, -1, -1)]
    assert len([p for p in hub.paths() if p == "/api/datasets"]) == 4
    (one,) = api.list_datasets(search="german", expand=["cardData", "sha", "gated"])
    assert one.card_data is not None and one.card_data.language == "de"
    assert (one.sha, one.gated, one.downloads) == (hub.tree.repo("datasets", "b/german-spam").sha(), False, None)  # type: ignore[union-attr]


def test_info_tree_and_files(hub: LoopbackHub, api: HfApi) -> None:
    make(hub.tree.root, "a/mail", rows=ROWS, file="data/train.jsonl")
    info = api.dataset_info("a/mail", files_metadata=True)
    size = (hub.tree.root / "datasets/a/mail/data/train.jsonl").stat().st_size
    assert {s.rfilename: s.size for s in info.siblings or ()}["data/train.jsonl"] == size
    assert {e.path for e in api.list_repo_tree("a/mail", repo_type="dataset", recursive=True)} == {
        "README.md",
        "data",
        "data/train.jsonl",
    }
    path = hf_hub_download("a/mail", "data/train.jsonl", repo_type="dataset", revision=info.sha, endpoint=hub.url)
    assert Path(path).read_bytes() == (hub.tree.root / "datasets/a/mail/data/train.jsonl").read_bytes()
    folder = snapshot_download("a/mail", repo_type="dataset", revision=info.sha, endpoint=hub.url)
    assert (Path(folder) / "README.md").is_file()


def test_each_refusal_is_the_clients_own_error(hub: LoopbackHub, api: HfApi) -> None:
    for name in ("open", "gated", "private"):
        make(hub.tree.root, f"a/{name}")
    hub.about("datasets", "a/gated").gated = "manual"
    hub.about("datasets", "a/private").private = True
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info("a/nothing")
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info("a/private")
    assert api.dataset_info("a/private", token=TOKEN).private
    with pytest.raises(RevisionNotFoundError):
        api.dataset_info("a/open", revision="v2")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download("a/open", "none.txt", repo_type="dataset", endpoint=hub.url)
    assert api.dataset_info("a/gated").gated == "manual"
    with pytest.raises(GatedRepoError):
        hf_hub_download("a/gated", "train.jsonl", repo_type="dataset", endpoint=hub.url)
    hub.granted.add("a/gated")
    assert hf_hub_download("a/gated", "train.jsonl", repo_type="dataset", endpoint=hub.url, token=TOKEN)
    with pytest.raises(HfHubHTTPError, match="401"):
        list(api.list_datasets(token="hf_wrongwrongwrongwrong"))


def test_listing_waits_as_it_is_told_and_info_does_not_try_again(hub: LoopbackHub, api: HfApi) -> None:
    make(hub.tree.root, "a/mail")
    hub.fail("/api/datasets", 429, RateLimit='"api";r=0;t=0', times=1)
    assert [d.id for d in api.list_datasets()] == ["a/mail"]
    hub.fail("/api/datasets", 503, Retry_After="0")
    assert [d.id for d in api.list_datasets()] == ["a/mail"]
    hub.fail("/api/datasets/a/mail", 429)
    with pytest.raises(HfHubHTTPError, match="429"):
        api.dataset_info("a/mail")
    hub.fail("/resolve/", 500, method="GET")
    with pytest.raises(HfHubHTTPError, match="500"):
        hf_hub_download("a/mail", "train.jsonl", repo_type="dataset", endpoint=hub.url)


def test_a_part_of_a_file_is_206(hub: LoopbackHub) -> None:
    from huggingface_hub.utils import get_session

    make(hub.tree.root, "a/mail")
    url = f"{hub.url}/datasets/a/mail/resolve/main/train.jsonl"
    whole = get_session().get(url).content
    part = get_session().get(url, headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, whole[5:10])
    assert part.headers["Content-Range"] == f"bytes 5-9/{len(whole)}"
    assert get_session().get(url, headers={"Range": "bytes=-4"}).content == whole[-4:]
    assert get_session().get(url, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416


def test_a_folder_is_pushed_small_files_and_large(hub: LoopbackHub, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("---\nlicense: mit\n---\n# x\n")
    (tmp_path / "out" / "model.safetensors").write_bytes(b"\x00" * 5000)
    api = HfApi(endpoint=hub.url, token=TOKEN)
    assert api.create_repo("me/x", private=True) == f"{hub.url}/me/x"
    api.upload_folder(repo_id="me/x", folder_path=tmp_path / "out")
    repo = hub.tree.repo("models", "me/x")
    assert repo is not None and repo.about.private
    assert {p: f.read_bytes() for p, f in repo.files().items()} == {
        p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()
    }
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("me/x")
    with pytest.raises(HfHubHTTPError, match="403"):
        api.create_repo("them/x")


def test_datasets_and_transformers_load_from_it_and_reach_nothing_else(
    hub: LoopbackHub, tmp_path: Path, network_log: Path
) -> None:
    front = files("train.jsonl").replace("s0", "train")
    make(hub.tree.root, "a/mail", front, ROWS)
    make_encoder(hub.tree.root / "models" / "m" / "tiny")
    make_encoder(hub.tree.root / "models" / "m" / "pickle")
    weights = hub.tree.root / "models" / "m" / "pickle" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.hub.child_clients"],
        env=child_environment(hub, tmp_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout.splitlines()[-1])
    assert (got["splits"], got["first"]) == ({"train": 30}, ROWS[:3])
    assert len(got["ids"]) == 4 and got["parameters"] > 1000
    assert got["pickle"] == "OSError"
    assert "192.0.2.1" in got["outside"]
    assert network_log.read_text().splitlines() == ["lookup of 192.0.2.1"]  # the one attempt made on purpose
    network_log.unlink()
