"""The Hub as p2m speaks to it: ``huggingface_hub``, with every failure tried again where that helps and said in a line.

The client library tries listings again by itself; ``dataset_info``, ``model_info`` and the bytes of files it does not
(measured with huggingface_hub 2.4.0), so those are tried again here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from p2m.catalog.hubguard import at_most, guard, listing
from p2m.catalog.safety import Refused
from p2m.errors import BadInput, P2MError, ProviderError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tenacity import RetryCallState

DEFAULT_ENDPOINT = "https://huggingface.co"
ATTEMPTS = 4
LONGEST_WAIT = 60.0
REQUEST_SECONDS = 30.0
PROBE_SECONDS = 10.0
DATASET_FIELDS = ("cardData", "description", "downloads", "gated", "sha", "tags")
MODEL_FIELDS = (
    *("cardData", "config", "downloads", "gated", "library_name", "pipeline_tag"),
    *("safetensors", "sha", "siblings", "tags"),
)
RepoType = Literal["dataset", "model"]
T = TypeVar("T")


class HubError(ProviderError):
    """The Hub cannot be reached, or does not answer as it should, after the retries."""


@dataclass(frozen=True)
class RepoInfo:
    """A repository at one commit. ``files`` are sizes in bytes by path (None where the Hub does not say); ``meta`` is
    the card's front matter; ``tags`` and ``config`` are the Hub's own; ``parameters`` and ``weight_bytes`` are of a
    model's safetensors."""

    id: str
    sha: str
    files: dict[str, int | None]
    gated: bool
    meta: dict[str, Any]
    downloads: int
    tags: tuple[str, ...] = ()
    description: str = ""
    pipeline_tag: str = ""
    library: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    weight_bytes: int | None = None


class HubClient:
    """One Hub: ``endpoint``, else ``$HF_ENDPOINT``, else huggingface.co.

    A saved login is sent only where ``use_login`` says so; ``$HF_TOKEN`` always. Methods raise ``HubError`` where the
    Hub fails, ``BadInput`` for what it does not have, ``Refused`` for what it gives only to some.
    """

    def __init__(self, endpoint: str | None = None, *, use_login: bool = False) -> None:
        from huggingface_hub import HfApi, get_token

        self.endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
        self.token: str | Literal[False] = os.environ.get("HF_TOKEN") or (get_token() if use_login else None) or False
        guard(self.endpoint)
        self.api = HfApi(endpoint=self.endpoint, token=self.token)
        self._answered = False

    def datasets(self, *, search: str | None = None, tags: Sequence[str] = (), limit: int) -> list[RepoInfo]:
        """Datasets whose id contains ``search`` and that have all ``tags``, most downloaded first."""
        asked: dict[str, Any] = {"search": search, "filter": list(tags) or None, "expand": list(DATASET_FIELDS)}
        return self._list(lambda: self.api.list_datasets(sort="downloads", limit=limit, **asked), limit)

    def models(
        self, *, search: str | None = None, pipeline: str | None = None, tags: Sequence[str] = (), limit: int
    ) -> list[RepoInfo]:
        """Models likewise; ``pipeline`` is the Hub's name of what they are for."""
        asked: dict[str, Any] = {"search": search, "filter": list(tags) or None, "pipeline_tag": pipeline}
        return self._list(
            lambda: self.api.list_models(sort="downloads", limit=limit, expand=list(MODEL_FIELDS), **asked),  # type: ignore[arg-type]
            limit,
        )

    def full_text(self, query: str, limit: int) -> list[str]:
        """Ids of datasets whose card speaks of ``query``; none where there is no such search (it is undocumented)."""
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        try:
            address = f"{self.endpoint}/api/search/full-text"
            asked: dict[str, str | int] = {"q": query, "type": "dataset", "limit": limit}
            headers = build_hf_headers(token=self.token)
            response = get_session().get(address, params=asked, headers=headers, timeout=PROBE_SECONDS)
            hf_raise_for_status(response)
            hits = response.json().get("hits", [])
            ids = [h.get("repoId") or f"{h.get('repoOwner')}/{h.get('repoName')}" for h in hits if isinstance(h, dict)]
        except Exception:  # optional: whatever is wrong with it, the listings are there
            return []
        return list(dict.fromkeys(i for i in ids if isinstance(i, str) and "None" not in i))[:limit]

    def dataset(self, dataset: str) -> RepoInfo:
        """The dataset as it is now, with the sizes of its files."""
        ask = lambda: self.api.dataset_info(dataset, files_metadata=True, timeout=REQUEST_SECONDS)  # noqa: E731
        return repo_info(self._again(ask, f"the dataset {dataset}"))

    def model(self, model: str, revision: str | None = None) -> RepoInfo:
        """The model as it is now, or at ``revision``, with the sizes of its files."""
        ask = lambda: self.api.model_info(model, revision=revision, files_metadata=True, timeout=REQUEST_SECONDS)  # noqa: E731
        return repo_info(self._again(ask, f"the model {model}"))

    def file(self, kind: RepoType, repo: str, sha: str, name: str, size: int | None = None) -> Path:
        """A whole file, in the cache of ``huggingface_hub``. One larger than the ``size`` it was listed with is
        ``Refused``."""
        from huggingface_hub import hf_hub_download

        def fetch() -> str:
            with at_most(size):
                return hf_hub_download(
                    repo, name, repo_type=kind, revision=sha, endpoint=self.endpoint, token=self.token
                )

        return Path(self._again(fetch, f"{name} of {repo}"))

    def part(self, kind: RepoType, repo: str, sha: str, name: str, start: int, length: int) -> bytes:
        """``length`` bytes of a file from ``start``, by a Range request; never more, whatever the server sends."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        url = hf_hub_url(repo, name, repo_type=kind, revision=sha, endpoint=self.endpoint)
        headers = {**build_hf_headers(token=self.token), "Range": f"bytes={start}-{start + length - 1}"}
        headers["Accept-Encoding"] = "identity"

        def fetch() -> bytes:
            with get_session().stream("GET", url, headers=headers, timeout=REQUEST_SECONDS) as response:
                hf_raise_for_status(response)
                if response.status_code != 206 and start:
                    raise HubError(f"{self.endpoint} does not answer Range requests for {name} of {repo}")
                data = bytearray()
                for block in response.iter_bytes():
                    data += block
                    if len(data) >= length:
                        break
                return bytes(data[:length])

        return self._again(fetch, f"{name} of {repo}")

    def snapshot(self, model: str, sha: str, names: Sequence[str]) -> Path:
        """The named files of a model, in the cache of ``huggingface_hub``; the folder that holds them."""
        from huggingface_hub import snapshot_download

        def fetch() -> str:
            return snapshot_download(
                model, revision=sha, allow_patterns=list(names), endpoint=self.endpoint, token=self.token
            )

        return Path(self._again(fetch, f"the model {model}"))

    def _list(self, ask: Callable[[], Iterable[Any]], limit: int) -> list[RepoInfo]:
        self._reach()
        with explained(self.endpoint, "its listing"), listing(limit):
            return [repo_info(found) for found in ask()]

    def _reach(self) -> None:
        """One short request before the first listing: the client library would try a dead address for half a minute."""
        from huggingface_hub.utils import get_session

        if self._answered:
            return
        with explained(self.endpoint, "its listing"):
            get_session().get(f"{self.endpoint}/api/datasets", params={"limit": 1}, timeout=PROBE_SECONDS)
        self._answered = True

    def _again(self, ask: Callable[[], T], what: str) -> T:
        from tenacity import Retrying, retry_if_exception, stop_after_attempt

        with explained(self.endpoint, what):
            again = Retrying(
                stop=stop_after_attempt(ATTEMPTS), wait=_wait, retry=retry_if_exception(is_transient), reraise=True
            )
            return again(ask)


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later, and the library has not tried it again itself (as it does the HEAD of
    a file, which it tells as ``LocalEntryNotFoundError``)."""
    import httpx2

    status = getattr(getattr(error, "response", None), "status_code", None)
    return status in (408, 429, 500, 502, 503, 504) or isinstance(error, httpx2.TransportError)


@contextmanager
def explained(endpoint: str, what: str) -> Iterator[None]:
    """Turn what ``huggingface_hub`` raises into one line: ``HubError``, ``BadInput`` or ``Refused``."""
    import httpx2
    from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

    try:
        yield
    except P2MError:
        raise
    except OfflineModeIsEnabled as error:
        raise HubError("HF_HUB_OFFLINE is set, so the Hub is not asked. Unset it, or give --catalog DIR") from error
    except HFValidationError as error:
        raise BadInput(f"not a repository id: {_line(error)}", where=what) from error
    except (httpx2.HTTPError, OSError) as raised:
        raise explain(_cause(raised), endpoint, what) from raised
    except (ValueError, KeyError, TypeError) as error:  # an answer that is not JSON, or not the Hub's
        raise HubError(f"{endpoint} gave no usable answer for {what}: {_line(error)}") from error


def explain(error: BaseException, endpoint: str, what: str) -> P2MError:
    """The error for the user: what failed, why, what to do. No token is in it."""
    import httpx2
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return Refused("gated", f"{what}: the Hub gives it only to those who asked for access, with their HF_TOKEN")
    if isinstance(error, RepositoryNotFoundError):
        return BadInput(f"{endpoint} does not have it", where=what, fix="If it is private, set HF_TOKEN")
    if isinstance(error, (RevisionNotFoundError, EntryNotFoundError)):
        return BadInput(f"{endpoint} no longer has it at that commit", where=what)
    response = getattr(error, "response", None)
    status = response.status_code if response is not None else None
    if status == 401:
        return HubError(f"{endpoint} refused the token for {what} (401). Check HF_TOKEN, or: hf auth login")
    if status == 403:
        return HubError(f"{endpoint} does not allow {what} with this token (403): {_said(error)}")
    if status == 409:
        return HubError(f"{endpoint}: {what} is in conflict with what is there (409): {_said(error)}")
    if status == 429:
        return HubError(f"{endpoint} is over its rate limit for {what} (429). Wait a few minutes; a token raises it")
    if status is not None:
        return HubError(f"{endpoint} failed on {what} ({status}) after the retries: {_said(error)}")
    if isinstance(error, httpx2.TimeoutException):
        return HubError(f"{endpoint} did not answer in time for {what}")
    return HubError(f"no connection to {endpoint} for {what}: {_line(error)}")


def _cause(error: BaseException) -> BaseException:
    """A failed HEAD of a file that is not cached is told as ``LocalEntryNotFoundError``: why is behind it."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    seen = error
    while isinstance(seen, LocalEntryNotFoundError) and seen.__cause__ is not None:
        seen = seen.__cause__
    return seen


def _wait(state: RetryCallState) -> float:
    """As the server asks (``RateLimit`` or ``Retry-After``), else 1, 2, 4 seconds."""
    from huggingface_hub.utils import parse_ratelimit_headers

    response = getattr(state.outcome.exception() if state.outcome else None, "response", None)
    if response is not None:
        limit = parse_ratelimit_headers(response.headers)
        asked = (
            str(limit.reset_in_seconds) if limit and not limit.remaining else response.headers.get("Retry-After", "")
        )
        if asked.isdigit():
            return min(float(asked), LONGEST_WAIT)
    return float(2 ** (state.attempt_number - 1))


def _said(error: BaseException) -> str:
    return str(getattr(error, "server_message", None) or _line(error))[:200]


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def repo_info(found: Any) -> RepoInfo:
    """From the client's ``DatasetInfo`` or ``ModelInfo``, which leave out what was not asked for."""
    card = found.card_data
    weights = getattr(found, "safetensors", None)
    config = getattr(found, "config", None)
    return RepoInfo(
        id=found.id,
        sha=found.sha or "",
        files={s.rfilename: s.size for s in found.siblings or ()},
        gated=bool(found.gated),
        meta=card.to_dict() if card is not None and hasattr(card, "to_dict") else {},
        downloads=int(found.downloads or 0),
        tags=tuple(str(t) for t in found.tags or ()),
        description=str(getattr(found, "description", None) or ""),
        pipeline_tag=str(getattr(found, "pipeline_tag", None) or ""),
        library=str(getattr(found, "library_name", None) or ""),
        config=config if isinstance(config, dict) else {},
        parameters=weights.total if weights else None,
        weight_bytes=_weight_bytes(weights),
    )


_WIDTHS = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2}


def _weight_bytes(weights: Any) -> int | None:
    """The size of a model's weights, from its parameters a type."""
    parameters = getattr(weights, "parameters", None)
    if not isinstance(parameters, dict):
        return None
    return sum(_WIDTHS.get(str(kind), 1) * int(count) for kind, count in parameters.items())
