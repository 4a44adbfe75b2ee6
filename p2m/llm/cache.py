"""Answered calls, kept: the same question to the same model is not paid for twice."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from p2m import paths
from p2m.llm.reply import Reply, TokenLogprob, ToolCall, Usage

log = logging.getLogger(__name__)
BUSY_SECONDS = 10.0


class Cache:
    """A SQLite file in WAL mode, safe for several processes and threads at once.

    It is a convenience and never a reason to fail: a damaged file is moved aside, a locked or read-only one is a miss,
    each with a warning in the log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._off = False

    def get(self, key: str) -> Reply | None:
        """The reply kept under ``key``, marked as cached and costing nothing; None where there is none."""
        row = self._run("SELECT reply FROM replies WHERE key = ?", (key,))
        return _from_json(row[0]) if row else None

    def put(self, key: str, reply: Reply) -> None:
        text = json.dumps(asdict(reply), ensure_ascii=False)
        self._run("INSERT OR REPLACE INTO replies VALUES (?, ?, ?)", (key, text, time.time()))

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _run(self, sql: str, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        with self._lock:
            for attempt in (1, 2):
                if self._off:
                    break
                try:
                    return self._open().execute(sql, values).fetchone()
                except (sqlite3.OperationalError, OSError) as error:  # locked, read-only, no room
                    log.warning("the LLM cache %s is not used: %s", self.path, error)
                    self._off = "locked" not in str(error)
                    break
                except sqlite3.DatabaseError as error:
                    self._off = attempt == 2
                    self._move_aside(error)
        return None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # isolation_level None: each statement commits by itself, so no reader waits for a long transaction.
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._connection = connection
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT, at REAL)")
        return self._connection

    def _move_aside(self, error: Exception) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        for suffix in ("", "-wal", "-shm"):
            part = Path(f"{self.path}{suffix}")
            if part.exists():
                os.replace(part, f"{aside}{suffix}")
        log.warning("the LLM cache was damaged (%s); it is now %s and a new one begins", error, aside)


def shared() -> Cache | None:
    """The user's cache; None where ``P2M_NO_CACHE`` is set."""
    return None if os.environ.get("P2M_NO_CACHE") else Cache(paths.llm_cache())


def _from_json(text: str) -> Reply | None:
    try:
        raw = json.loads(text)
        logprobs = raw["logprobs"]
        return Reply(
            text=raw["text"],
            tool_calls=tuple(ToolCall(**call) for call in raw["tool_calls"]),
            usage=Usage(**raw["usage"]),
            cached=True,
            seconds=0.0,
            usd=0.0,
            logprobs=None
            if logprobs is None
            else tuple(
                TokenLogprob(t["token"], t["logprob"], tuple((token, value) for token, value in t["top"]))
                for t in logprobs
            ),
            finish_reason=raw["finish_reason"],
        )
    except (ValueError, KeyError, TypeError):
        return None  # written by another version
