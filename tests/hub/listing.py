"""Search and listing: filters, order, pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from tests.hub.repos import Kind, Repo, Tree

SHORT = ("id", "author", "private", "gated", "disabled", "downloads", "likes", "tags", "sha", "lastModified")
Query = dict[str, list[str]]


def page(tree: Tree, kind: Kind, query: Query, size: int, url: str) -> tuple[list[dict[str, Any]], str | None]:
    """One page of the repositories that match, and the URL of the next one. As on the Hub ``search`` is a substring
    of the id, every ``filter`` must be a tag, and ``expand`` names the fields."""
    found = [r for r in tree.repos(kind) if not r.about.private and _matches(r, query)]
    if query.get("sort"):
        found.sort(key=lambda r: getattr(r.about, query["sort"][0], 0), reverse=True)
    start, length = int(query.get("cursor", ["0"])[0]), min(size, int(query.get("limit", [size])[0]))
    shown = [_fields(r, query) for r in found[start : start + length]]
    if start + length >= len(found):
        return shown, None
    rest = {**query, "cursor": [str(start + length)]}
    return shown, f"{url}/api/{kind}?{urlencode(rest, doseq=True)}"


def full_text(tree: Tree, kind: Kind, query: Query) -> dict[str, Any]:
    """Repositories whose card has a word of the query, most words first."""
    words = query.get("q", [""])[0].lower().split()
    scored = []
    for repo in tree.repos(kind):
        readme = repo.folder / "README.md"
        text = readme.read_text(encoding="utf-8").lower() if readme.is_file() else ""
        if score := sum(w in text for w in words):
            scored.append((-score, repo.id))
    hits = [{"type": kind[:-1], "repoId": i, "repoOwner": i.split("/")[0], "repoName": i.split("/")[1]}
            for _, i in sorted(scored)]  # fmt: skip
    return {"hits": hits[:20], "estimatedTotalHits": len(hits)}


def _matches(repo: Repo, query: Query) -> bool:
    if query.get("search") and query["search"][0].lower() not in repo.id.lower():
        return False
    if query.get("author") and query["author"][0] != repo.id.split("/")[0]:
        return False
    info_tag = repo.card().get("pipeline_tag")
    if query.get("pipeline_tag") and query["pipeline_tag"][0] != info_tag:
        return False
    return set(query.get("filter", ())) <= set(repo.tags())


def _fields(repo: Repo, query: Query) -> dict[str, Any]:
    info = repo.info()
    wanted = [*query.get("expand", ())] or [*SHORT, *(["cardData", "siblings"] if "full" in query else [])]
    return {"_id": info["_id"], "id": info["id"], **{k: info[k] for k in wanted if k in info}}
