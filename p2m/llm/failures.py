"""What a failed call means: worth another try, or an error that says what to do."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Iterable

from p2m.errors import ProviderError
from p2m.llm.endpoint import Endpoint
from p2m.llm.redact import redact

LONGEST_QUOTE = 300
# The names by which servers complain about an option, most telling first: "response_format" before "schema" parts.
_COMPLAINTS = {
    "response_format": ("response_format", "json_schema", "structured output"),
    "tools": ("tool_choice", "tools", "tool call", "function calling"),
    "stream_options": ("stream_options",),
    "max_tokens": ("max_tokens",),
    "temperature": ("temperature",),
    "seed": ("seed",),
    "logprobs": ("logprobs",),
}


class RequestRefused(ProviderError):
    """The server will not answer this request (too long, malformed); it may well answer another."""


class ToolsRefused(RequestRefused):
    """The server has no native tool calls."""


class UnusableAnswer(Exception):
    """The server answered, but not with a chat completion."""


def is_loading(error: BaseException | None) -> bool:
    """A 503 of a server that says that its model is still being loaded."""
    return getattr(error, "status_code", None) == 503 and "loading" in str(error).lower()


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    from openai import APIConnectionError, APIResponseValidationError, APIStatusError

    if isinstance(error, APIStatusError):
        if error.status_code == 429 and error.code == "insufficient_quota":
            return False
        return error.status_code in (408, 409, 429) or error.status_code >= 500
    return isinstance(error, (APIConnectionError, APIResponseValidationError, UnusableAnswer, json.JSONDecodeError))


def is_providers(error: BaseException) -> bool:
    """Whether the provider is to blame, and no bug of ours."""
    from openai import OpenAIError

    return isinstance(error, (OpenAIError, UnusableAnswer, json.JSONDecodeError))


def reason(error: BaseException | None) -> str:
    """A few words for a trace: ``429``, ``503 loading``, ``timed out``, ``connection failed``, ``unusable answer``."""
    from openai import APIConnectionError, APIStatusError, APITimeoutError

    if isinstance(error, APIStatusError):
        return f"{error.status_code}{' loading' if is_loading(error) else ''}"
    if isinstance(error, APITimeoutError):
        return "timed out"
    return "connection failed" if isinstance(error, APIConnectionError) else "unusable answer"


def retry_after(error: BaseException | None) -> float | None:
    """Seconds the server asks to wait (RFC 9110, 10.2.3: a number or a date), or None."""
    response = getattr(error, "response", None)
    text = response.headers.get("retry-after") if response is not None else None
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        when = email.utils.parsedate_tz(text)
        return max(0.0, email.utils.mktime_tz(when) - time.time()) if when else None


def refused_option(error: BaseException, sent: Iterable[str]) -> str | None:
    """The option of ``sent`` that a 400 or 422 complains about, or None."""
    if getattr(error, "status_code", None) not in (400, 422):
        return None
    said = f"{getattr(error, 'param', None) or ''} {error}".lower()
    if "context" in said:  # too long: such a message may list all that was sent
        return None
    names = set(sent)
    return next((name for name, signs in _COMPLAINTS.items() if name in names and any(s in said for s in signs)), None)


def explain(error: BaseException, endpoint: Endpoint) -> ProviderError:
    """The error for the user: who failed, why, what to do. No key is in it."""
    from openai import APIConnectionError, APIStatusError, APITimeoutError

    who = str(endpoint)
    if isinstance(error, APIStatusError):
        said, status = _said(error), error.status_code
        if status in (401, 403):
            variable = " or ".join(endpoint.key_variables)
            missing = "no key was sent" if endpoint.key is None else "it refused the key"
            return ProviderError(f"{who}: {missing} ({status}). Set {variable}")
        if status == 404:
            at = endpoint.base_url
            return ProviderError(f"{who}: not found (404): check the model's name and the URL {at}. It said: {said}")
        if status == 429:
            return ProviderError(f"{who}: over its rate limit or out of credit (429). It said: {said}")
        if status >= 500 or status in (408, 409):
            return ProviderError(f"{who} failed ({status}) after the retries. It said: {said}")
        return RequestRefused(f"{who} refused the request ({status}). It said: {said}")
    if isinstance(error, APITimeoutError):
        return ProviderError(f"{who} did not answer in time, after the retries")
    if isinstance(error, APIConnectionError):
        return ProviderError(f"{who}: no connection to {endpoint.base_url}. Is the server running?")
    return ProviderError(f"{who} gave no usable answer, after the retries: {redact(str(error))[:LONGEST_QUOTE]}")


def _said(error: BaseException) -> str:
    body = getattr(error, "body", None)
    text = body.get("message") if isinstance(body, dict) else None
    return " ".join(redact(str(text or error)).split())[:LONGEST_QUOTE]
