"""Publishing on the Hub: a list of files, checked, as one commit of a repository of the user's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2m.catalog.hubclient import HubClient, HubError, RepoType, explained
from p2m.errors import BadInput
from p2m.llm.redact import redact

# What a delivered folder is made of. Anything else that lies in it is the user's business, not the Hub's.
_DELIVERED = re.compile(
    r"README\.md|config\.json|model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|tokenizer\.json"
    r"|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\.(txt|json)|merges\.txt"
    r"|spiece\.model|sentencepiece\.bpe\.model|tokenizer\.model|generation_config\.json"
    r"|chat_template\.jinja"
)
_TEXT = (".md", ".json", ".jsonl", ".txt", ".jinja")
MARK = "p2m"
"""The tag of every card written here: a repository that has it may be written again."""


@dataclass(frozen=True)
class Published:
    """``address`` is for a browser; ``updated`` says that the repository was there before."""

    address: str
    updated: bool


def delivered_files(folder: Path) -> dict[str, Path]:
    """The files of a delivered model, by name. No subfolder, no link, nothing hidden. Raises ``BadInput`` without card
    or weights."""
    found = {f.name: f for f in sorted(folder.iterdir()) if _DELIVERED.fullmatch(f.name) and f.is_file()}
    found = {name: file for name, file in found.items() if not file.is_symlink()}
    if "README.md" not in found or not any(name.endswith(".safetensors") for name in found):
        raise BadInput("no card or no weights: this is no delivered model", where=str(folder))
    return found


def publish(repo: str, kind: RepoType, files: Mapping[str, Path | bytes], *, private: bool, message: str) -> Published:
    """Create ``repo`` and commit ``files`` to it; a repository that p2m made before gets one commit more.

    Raises ``BadInput`` for a bad name, a missing token, a file that holds a key, or a repository that is somebody
    else's work; ``HubError`` where the Hub refuses or fails.
    """
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.errors import HfHubHTTPError

    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", repo, re.ASCII):
        raise BadInput("not a repository", where=repo[:80], fix="It is ORG/NAME, e.g. your-name/question-type")
    check_no_keys(files)
    client = HubClient(use_login=True)
    if not client.token:
        raise BadInput(
            f"there is no token for {client.endpoint}", where="p2m push", fix="Set HF_TOKEN, or: hf auth login"
        )
    updated = False
    with explained(client.endpoint, f"pushing to {repo}"):
        try:
            client.api.create_repo(repo, repo_type=kind, private=private)
        except HfHubHTTPError as error:
            if error.response.status_code != 409:
                raise
            _may_write_again(client, kind, repo, private)
            updated = True
        added: list[Any] = [
            CommitOperationAdd(name, file if isinstance(file, bytes) else str(file)) for name, file in files.items()
        ]
        client.api.create_commit(repo, added, commit_message=message, repo_type=kind)
    prefix = "datasets/" if kind == "dataset" else ""
    return Published(f"{client.endpoint}/{prefix}{repo}", updated)


def check_no_keys(files: Mapping[str, Path | bytes]) -> None:
    """Raises ``BadInput`` for a text file with what looks like a key, or the value of a secret variable."""
    for name, file in files.items():
        if name.endswith(_TEXT):
            data = file if isinstance(file, bytes) else file.read_bytes()
            text = data.decode("utf-8", errors="replace")
            if redact(text) != text:
                line = next(i for i, part in enumerate(text.splitlines(), 1) if redact(part) != part)
                raise BadInput("there is what looks like a key; nothing was uploaded", where=name, line=line)


def _may_write_again(client: HubClient, kind: RepoType, repo: str, private: bool) -> None:
    info = client.api.dataset_info(repo) if kind == "dataset" else client.api.model_info(repo)
    if MARK not in (info.tags or ()):
        raise BadInput(
            f"there is a {kind} of that name already, and p2m did not make it", where=repo, fix="Choose another name"
        )
    if private and not info.private:
        raise BadInput("it is there already and public", where=repo, fix="Choose another name, or leave out --private")


__all__ = ["HubError", "Published", "check_no_keys", "delivered_files", "publish"]
