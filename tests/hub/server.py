"""The HTTP face of the loopback hub."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub import files, listing
from tests.hub.push import Refuse, Writer
from tests.hub.repos import About, Kind, Repo, Tree

PAGE = 100
TOKEN, USER = "hf_loopbackloopbackloopback", "me"
INFO = re.compile(r"/api/(datasets|models)/([^/]+/[^/]+)(?:/revision/([^/]+))?")
TREE = re.compile(r"/api/(datasets|models)/([^/]+/[^/]+)/tree/([^/]+)(?:/(.*))?")
RESOLVE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
WRITE = re.compile(r"/api/(datasets|models)/([^/]+/[^/]+)/(preupload|commit)/main")
BATCH = re.compile(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch")


@dataclass
class Fault:
    """The next ``times`` requests whose path has ``part`` in it (of ``method``, where given) fail."""

    part: str
    status: int
    times: int
    method: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"error": "scripted"}'


class LoopbackHub:
    """Serves ``root/datasets`` and ``root/models``. ``requests`` are (method, path with query) as they came; ``token``
    is who may write and read what is private, gated only where ``granted`` has its id."""

    def __init__(self, root: Path, page: int = PAGE) -> None:
        self.tree, self.page = Tree(root), page
        self.requests: list[tuple[str, str]] = []
        self.ranges: list[tuple[str, str]] = []
        self.granted: set[str] = set()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.writer = Writer(self.tree, self.url)

    def __enter__(self) -> LoopbackHub:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def about(self, kind: Kind, repo_id: str) -> About:
        return self.tree.about(kind, repo_id)

    def fail(
        self, part: str, status: int, times: int = 1, method: str = "", body: bytes = Fault.body, **headers: str
    ) -> None:
        """Script a fault. ``headers`` in Python spelling: ``Retry_After="0"``."""
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        self._faults.append(Fault(part, status, times, method, named, body))

    def heal(self) -> None:
        self._faults.clear()

    def paths(self, method: str = "") -> list[str]:
        """The paths asked for, without queries."""
        return [urlsplit(p).path for m, p in self.requests if method in ("", m)]

    def fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and fault.part in path and fault.method in ("", method):
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(self._read)

    def do_HEAD(self) -> None:
        self._answer(self._read)

    def do_POST(self) -> None:
        self._answer(self._write)

    def do_PUT(self) -> None:
        self._answer(self._write)

    def _answer(self, handle: Any) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or self._chunks()
        self.hub.requests.append((self.command, unquote(self.path)))
        if fault := self.hub.fault(self.command, unquote(self.path)):
            self._send(fault.status, fault.body, {"Content-Type": "application/json", **fault.headers})
            return
        try:
            handle(unquote(urlsplit(self.path).path), parse_qs(urlsplit(self.path).query))
        except Refuse as refusal:
            headers = {"X-Error-Message": refusal.message, "Content-Type": "application/json"}
            headers |= {"X-Error-Code": refusal.code} if refusal.code else {}
            self._send(refusal.status, json.dumps({"error": refusal.message}).encode(), headers)

    def _chunks(self) -> bytes:
        data = b""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return data

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: Any, headers: dict[str, str] | None = None) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _known(self) -> bool:
        """Whether the request carries the right token. Raises ``Refuse`` for a wrong one."""
        given = self.headers.get("Authorization")
        if given and given != f"Bearer {TOKEN}":
            raise Refuse(401, "", "Invalid credentials in Authorization header")
        return bool(given)

    def _repo(self, kind: str, repo_id: str, revision: str | None, *, content: bool) -> Repo:
        repo, known = self.hub.tree.repo("datasets" if kind == "datasets" else "models", repo_id), self._known()
        if repo is None:
            raise Refuse(404 if known else 401, "RepoNotFound", "Repository not found")
        if repo.about.private and not known:
            raise Refuse(401, "RepoNotFound", "Invalid username or password.")
        if repo.about.gated and content and not (known and repo_id in self.hub.granted):
            raise Refuse(403, "GatedRepo", f"Access to {kind[:-1]} {repo_id} is restricted")
        if revision not in (None, "main", repo.sha()):
            raise Refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repo

    def _read(self, path: str, query: dict[str, list[str]]) -> None:
        hub = self.hub
        if path in ("/api/datasets", "/api/models"):
            self._known()
            kind: Kind = "datasets" if path.endswith("datasets") else "models"
            found, following = listing.page(hub.tree, kind, query, hub.page, hub.url)
            self._json(found, {"Link": f'<{following}>; rel="next"'} if following else {})
        elif path == "/api/search/full-text":
            self._json(listing.full_text(hub.tree, "datasets", query))
        elif path == "/api/whoami-v2":
            if not self._known():
                raise Refuse(401, "", "Invalid username or password.")
            self._json({"name": USER, "type": "user", "auth": {"accessToken": {"role": "write"}}})
        elif match := TREE.fullmatch(path):
            repo = self._repo(match[1], match[2], match[3], content=False)
            entries = files.tree(repo, match[4] or "", query.get("recursive", ["false"])[0].lower() == "true")
            if entries is None:
                raise Refuse(404, "EntryNotFound", f"{match[4]} does not exist on {match[3]}")
            self._json(entries)
        elif match := INFO.fullmatch(path):
            self._json(self._repo(match[1], match[2], match[3], content=False).info(blobs="blobs" in query))
        elif match := RESOLVE.fullmatch(path):
            self._file(self._repo("datasets" if match[1] else "models", match[2], match[3], content=True), match[4])
        else:
            raise Refuse(404, "", f"no such page: {path}")

    def _file(self, repo: Repo, path: str) -> None:
        """200 with all of it, or 206 with the part asked for; never a redirect, which would lose ``X-Repo-Commit``."""
        if path not in repo.files():
            raise Refuse(404, "EntryNotFound", "Entry not found")
        data = repo.files()[path].read_bytes()
        headers = {"X-Repo-Commit": repo.sha(), "ETag": files.etag(repo, path), "Accept-Ranges": "bytes"}
        headers["Content-Type"] = "application/octet-stream"
        try:
            part = files.span(self.headers.get("Range"), len(data))
        except ValueError:
            self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        if part is None:
            self._send(200, data, headers)
            return
        self.hub.ranges.append((path, self.headers["Range"]))
        first, last = part
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self._send(206, data[first : last + 1], headers)

    def _write(self, path: str, query: dict[str, list[str]]) -> None:
        writer = self.hub.writer
        if path.startswith("/lfs/") and self.command == "PUT":
            writer.objects[path.removeprefix("/lfs/")] = self.body
            self._send(200, b"", {})
            return
        if not self._known():
            raise Refuse(401, "", "Invalid username or password.")
        if path == "/api/repos/create":
            self._json(writer.create(json.loads(self.body), USER))
        elif path == "/api/validate-yaml":
            self._json(writer.validate(json.loads(self.body)))
        elif match := BATCH.fullmatch(path):
            self._json(writer.batch(json.loads(self.body)))
        elif match := WRITE.fullmatch(path):
            kind: Kind = "datasets" if match[1] == "datasets" else "models"
            if match[3] == "preupload":
                self._json(writer.preupload(json.loads(self.body)))
            else:
                self._json(writer.commit(kind, match[2], self.body))
        else:
            raise Refuse(404, "", f"no such page: {path}")
