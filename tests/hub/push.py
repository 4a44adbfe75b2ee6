"""Creating repositories and committing to them: regular files in the commit, large ones by LFS."""

from __future__ import annotations

import base64
import json
from typing import Any

import yaml

from tests.hub.repos import LFS_SUFFIXES, Kind, Tree


class Refuse(Exception):
    """An HTTP error: status, ``X-Error-Code``, message."""

    def __init__(self, status: int, code: str = "", message: str = "no") -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(message)


class Writer:
    """``commits`` lists (kind, id, paths) in order; ``objects`` holds LFS content by SHA-256."""

    def __init__(self, tree: Tree, url: str) -> None:
        self.tree, self.url = tree, url
        self.objects: dict[str, bytes] = {}
        self.commits: list[tuple[str, str, tuple[str, ...]]] = []

    def create(self, body: dict[str, Any], user: str) -> dict[str, Any]:
        kind: Kind = "datasets" if body.get("type") == "dataset" else "models"
        owner = body.get("organization") or user
        if owner != user:
            raise Refuse(403, "", f'You don\'t have the rights to create a {kind[:-1]} under the namespace "{owner}"')
        repo_id = f"{owner}/{body['name']}"
        shown = f"{self.url}/{'datasets/' if kind == 'datasets' else ''}{repo_id}"
        if self.tree.repo(kind, repo_id):
            raise Refuse(409, "", "You already created this model repo")
        (self.tree.root / kind / repo_id).mkdir(parents=True)
        self.tree.about(kind, repo_id).private = body.get("visibility") == "private" or bool(body.get("private"))
        return {"url": shown, "name": repo_id, "id": "0" * 24}

    def validate(self, body: dict[str, Any]) -> dict[str, Any]:
        text = body["content"]
        try:
            meta = yaml.safe_load(text[3:].partition("\n---")[0]) if text.startswith("---") else None
        except yaml.YAMLError as error:
            raise Refuse(400, "", str(error)) from error
        return {"errors": [], "warnings": [] if meta else [{"message": "empty or missing yaml metadata"}]}

    def preupload(self, body: dict[str, Any]) -> dict[str, Any]:
        return {
            "files": [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(LFS_SUFFIXES) else "regular",
                    "shouldIgnore": False,
                }
                for f in body["files"]
            ]
        }

    def batch(self, body: dict[str, Any]) -> dict[str, Any]:
        """https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md"""
        objects = []
        for wanted in body["objects"]:
            known = wanted["oid"] in self.objects
            action = {} if known else {"actions": {"upload": {"href": f"{self.url}/lfs/{wanted['oid']}"}}}
            objects.append({"oid": wanted["oid"], "size": wanted["size"], **action})
        return {"transfer": "basic", "objects": objects}

    def commit(self, kind: Kind, repo_id: str, payload: bytes) -> dict[str, Any]:
        repo = self.tree.repo(kind, repo_id)
        if repo is None:
            raise Refuse(404, "RepoNotFound", "Repository not found")
        paths = []
        for line in payload.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] in ("file", "lfsFile"):
                data = base64.b64decode(value["content"]) if item["key"] == "file" else self.objects[value["oid"]]
                target = repo.folder / value["path"]
                if not target.resolve().is_relative_to(repo.folder.resolve()):
                    raise Refuse(400, "", "path outside the repository")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
                paths.append(value["path"])
            elif item["key"] == "deletedFile":
                (repo.folder / value["path"]).unlink()
        self.commits.append((kind, repo_id, tuple(paths)))
        sha = repo.sha()
        return {"success": True, "commitOid": sha, "commitUrl": f"{self.url}/{repo_id}/commit/{sha}", "hookOutput": ""}
