"""What a Hub, or a mirror of it, can try beside its repositories: other hosts, listings without end, wrong sizes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2m.catalog.hub import HubCatalog
from p2m.catalog.hubclient import HubClient
from p2m.catalog.index.hub import list_hub
from p2m.catalog.safety import Refused
from p2m.errors import P2MError
from tests.catalog_folder import make
from tests.hub import LoopbackHub


@pytest.fixture
def other(tmp_path: Path) -> Iterator[LoopbackHub]:
    """Another host: the same address, another port."""
    (tmp_path / "other").mkdir()
    with LoopbackHub(tmp_path / "other") as server:
        yield server


def sent_on(hub: LoopbackHub, part: str, server: LoopbackHub) -> None:
    """As the Hub itself sends on to where a large file lies: what a client wants to know first is in the headers."""
    about = {"X_Repo_Commit": "0" * 40, "ETag": '"x"', "X_Linked_Size": "10"}
    hub.fail(part, 302, times=99, Location=f"{server.url}/secret", **about)


def to(server: LoopbackHub) -> str:
    return f'<{server.url}/api/datasets?cursor=x>; rel="next"'


def test_a_file_behind_a_redirect_to_another_host_is_not_fetched(hub: LoopbackHub, other: LoopbackHub) -> None:
    make(hub.tree.root, "a/bad")
    sent_on(hub, "train.jsonl", other)
    catalog = HubCatalog(HubClient(hub.url))
    with pytest.raises(Refused, match=r"host rule.*sends us on to http://127\.0\.0\.1; .*P2M_HUB_HOSTS=127\.0\.0\.1"):
        list(catalog.rows("a/bad", "train"))
    with pytest.raises(Refused, match="host rule"):
        catalog.client.part("dataset", "a/bad", catalog.client.dataset("a/bad").sha, "train.jsonl", 0, 10)
    assert not other.requests


@pytest.mark.parametrize("place", ["http://169.254.169.254/latest", "https://evilhf.co/x", "http://cdn.hf.co/x"])
def test_a_redirect_inside_or_elsewhere_is_never_even_looked_up(place: str, hub: LoopbackHub) -> None:
    make(hub.tree.root, "a/bad")
    hub.fail("/api/datasets/a/bad", 302, times=99, Location=place)
    with pytest.raises(Refused, match="host rule"):
        HubClient(hub.url).dataset("a/bad")  # the network guard of these tests would fail it too


def test_hosts_of_a_mirror_are_a_setting(hub: LoopbackHub, other: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    make(hub.tree.root, "a/b")
    make(other.tree.root, "a/b")
    hub.fail("/api/datasets/a/b", 302, Location=f"{other.url}/api/datasets/a/b")
    monkeypatch.setenv("P2M_HUB_HOSTS", "cdn.example, 127.0.0.1")
    assert HubClient(hub.url).dataset("a/b").id == "a/b" and other.requests


def test_the_next_page_on_another_host_is_not_asked_for(hub: LoopbackHub, other: LoopbackHub) -> None:
    client = HubClient(hub.url)
    client._answered = True
    hub.fail("/api/datasets", 200, body=b"[]", Link=to(other))
    with pytest.raises(Refused, match="host rule"):
        client.datasets(limit=10)
    assert not other.requests


def test_pages_that_go_round_end(hub: LoopbackHub) -> None:
    hub.fail("/api/datasets", 200, times=10**6, body=b"[]", Link=to(hub))
    with pytest.raises(Refused, match="pages rule"):
        HubClient(hub.url).datasets(limit=25)
    assert len(hub.requests) < 20
    hub.requests.clear()
    with pytest.raises(Refused, match="pages rule"):  # as p2m catalog sync --hub lists
        list(list_hub("dataset", 50_000, endpoint=hub.url))
    assert len(hub.requests) < 20


def test_pages_without_end_end(hub: LoopbackHub) -> None:
    """Each page is empty and names a new one."""
    answer = hub.fault
    pages = iter(range(10**6))

    def endless(method: str, path: str) -> object:
        if not path.startswith("/api/datasets?"):
            return answer(method, path)
        hub.fail("/api/datasets", 200, body=b"[]", Link=f'<{hub.url}/api/datasets?cursor={next(pages)}>; rel="next"')
        return answer(method, path)

    hub.fault = endless  # type: ignore[method-assign,assignment]
    with pytest.raises(Refused, match="pages rule"):
        HubClient(hub.url).datasets(limit=25)
    assert len(hub.requests) < 30


@pytest.mark.parametrize("name", ["train.jsonl", "README.md"])
def test_a_file_larger_than_it_was_listed_is_not_read(name: str, hub: LoopbackHub) -> None:
    make(hub.tree.root, "a/bad")
    hub.fail(f"/{name}", 200, times=9, method="GET", body=b'{"text": "x"}\n' * 100_000)
    with pytest.raises(Refused, match=r"size rule.*listed with [\d,]+ bytes has 1,400,000"):
        list(HubCatalog(HubClient(hub.url)).rows("a/bad", "train"))


def test_xet_is_only_for_the_hub_itself(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fetch from wherever a mirror says, past the rules here."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    HubClient("https://huggingface.co")
    assert constants.HF_HUB_DISABLE_XET is False
    HubClient(hub.url)
    assert constants.HF_HUB_DISABLE_XET is True


def test_a_search_goes_on_without_a_hostile_dataset(hub: LoopbackHub, other: LoopbackHub) -> None:
    make(hub.tree.root, "a/bad")
    make(hub.tree.root, "b/good")
    sent_on(hub, "a/bad/resolve", other)
    catalog = HubCatalog(HubClient(hub.url))
    hits = catalog.search(["messages good bad"], kind="classify", language="en", limit=5, labels=["spam", "ham"])
    assert [h.id for h in hits] == ["b/good"]
    assert "host rule" in catalog.unreadable()["a/bad"]


def test_a_model_behind_a_redirect_is_not_fetched(hub: LoopbackHub, other: LoopbackHub) -> None:
    folder = hub.tree.root / "models" / "m" / "x"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    sent_on(hub, "model.safetensors", other)
    repo = hub.tree.repo("models", "m/x")
    assert repo is not None
    with pytest.raises(P2MError, match="host rule"):
        HubCatalog(HubClient(hub.url)).base_models.fetch("m/x", repo.sha())
    assert not other.requests
