"""Where an LLM answers: ``openai:MODEL``, ``http://host:port/v1#MODEL`` or ``local:NAME``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from p2m.errors import BadInput
from p2m.pack import PACK

OPENAI_URL = "https://api.openai.com/v1"
DEFAULT_OPENAI_MODEL = "gpt-4.1-mini"
DEFAULT_LOCAL_MODEL = "qwen2.5-coder-1.5b"
FORMS = "Give openai:MODEL, http://host:port/v1#MODEL or local:NAME (a pack model or a .gguf file)"


@dataclass(frozen=True)
class Endpoint:
    """``model`` is the name the server has for it, a pack name or a ``.gguf`` path; local ones have no ``base_url``."""

    kind: Literal["openai", "url", "local"]
    model: str
    base_url: str = ""

    def __str__(self) -> str:
        return f"{self.base_url}#{self.model}" if self.kind == "url" else f"{self.kind}:{self.model}"

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).hostname or ""

    @property
    def is_loopback(self) -> bool:
        return self.host in ("localhost", "127.0.0.1", "::1")

    @property
    def key_variables(self) -> tuple[str, ...]:
        """The environment variables whose value may be sent there: an OpenAI key goes to no other host by accident."""
        if self.kind == "openai":
            return ("OPENAI_API_KEY",)
        return ("P2M_API_KEY", "OPENAI_API_KEY") if self.host == "api.openai.com" else ("P2M_API_KEY",)

    @property
    def key(self) -> str | None:
        return next((os.environ[name] for name in self.key_variables if os.environ.get(name)), None)


def parse_endpoint(text: str) -> Endpoint:
    """Raises ``BadInput`` with the allowed forms for anything else. Starts nothing and asks no one."""
    text = text.strip()
    if text.startswith(("http://", "https://")):
        return _url(text)
    kind, _, model = text.partition(":")
    if kind == "openai" and model:
        return Endpoint("openai", model, (os.environ.get("OPENAI_BASE_URL") or OPENAI_URL).rstrip("/"))
    if kind == "local" and model:
        return _local(model)
    raise BadInput(f"{text!r} is no LLM endpoint", fix=FORMS)


def _url(text: str) -> Endpoint:
    base, _, model = text.partition("#")
    try:
        parts = urlsplit(base)
        parts.port  # noqa: B018 - raises where the port is no number
    except ValueError as error:
        raise BadInput(f"{base}: {error}", fix=FORMS) from error
    if parts.username or parts.password:
        raise BadInput(f"the URL of {parts.hostname} has a user name or key in it", fix="Put the key in P2M_API_KEY")
    if not parts.hostname:
        raise BadInput(f"{base} has no host", fix=FORMS)
    if not model:
        raise BadInput(f"{base} does not say which model", fix=f"Add its name: {base}#MODEL")
    return Endpoint("url", model, base.rstrip("/"))


def _local(model: str) -> Endpoint:
    if model.endswith(".gguf"):
        if not Path(model).expanduser().is_file():
            raise BadInput(f"there is no file {model}", fix="Give the path of a .gguf file")
        return Endpoint("local", model)
    writers = [m.name for m in PACK if not m.is_folder]
    if model not in writers:
        raise BadInput(f"no local LLM {model!r}", fix=f"There are {', '.join(writers)}; or give a .gguf file")
    return Endpoint("local", model)


def default_endpoint(role: str) -> Endpoint:
    """What ``auto`` means for ``planner`` or ``teacher``: ``$P2M_PLANNER`` / ``$P2M_TEACHER``; else OpenAI where
    ``$OPENAI_API_KEY`` is set (model ``$P2M_MODEL`` or ``DEFAULT_OPENAI_MODEL``); else the embedded model."""
    chosen = os.environ.get(f"P2M_{role.upper()}")
    if chosen:
        return parse_endpoint(chosen)
    if os.environ.get("OPENAI_API_KEY"):
        return parse_endpoint(f"openai:{os.environ.get('P2M_MODEL') or DEFAULT_OPENAI_MODEL}")
    return Endpoint("local", DEFAULT_LOCAL_MODEL)
