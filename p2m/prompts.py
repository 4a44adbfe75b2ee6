"""Prompts are template files: rendered strictly, and hashed so that a changed one is never served from a cache."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from p2m import paths

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment


@dataclass(frozen=True)
class Prompt:
    """``text`` for the model; ``hash``, 12 hex digits of the template's SHA-256, for cache keys and the journal."""

    text: str
    hash: str


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # No autoescape: prompts are plain text, and "&amp;" in a training row would be a fault.
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(paths.prompts_dir()),
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(name: str, **variables: Any) -> Prompt:
    """Render ``prompts/<name>.j2``. Values are data: what looks like a template in them stays as it is.

    Raises ``jinja2.UndefinedError`` for a variable the template needs and was not given, and
    ``jinja2.TemplateNotFound`` for an unknown name: both are bugs of the caller.
    """
    environment = _environment()
    assert environment.loader is not None
    source, _, _ = environment.loader.get_source(environment, f"{name}.j2")
    text = environment.get_template(f"{name}.j2").render(**variables)
    return Prompt(text, hashlib.sha256(source.encode()).hexdigest()[:12])
