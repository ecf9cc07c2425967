"""Every exception Deja raises on purpose, and how an unforeseen one is told without what it quotes.

    DejaError
    ├── ConfigError            a setting is wrong; stops the start with one sentence
    ├── RequestError           the caller's request is wrong; carries status, code and field
    ├── StoreError             Redis did not do what was asked
    │   ├── StoreUnavailableError   no answer: refused, reset, timed out, loading
    │   │   └── StoreLoadingError   it answers, to say that it is still loading its data
    │   ├── IndexMissingError       Redis answers, the vector index is not there (yet)
    │   └── StoreFullError          Redis is out of memory
    ├── UpstreamError          the model provider could not be reached, or broke off
    │   ├── UpstreamTimeoutError
    │   └── UpstreamBrokenError     the answer stopped before its end
    ├── EmbeddingError         a text could not be embedded
    └── AwayError              a Deja that is asked over HTTP gives no answer

Foreign exceptions are translated where the foreign call is made, with the cause kept. Messages never hold a prompt,
a credential or a URL with a password in it.
"""

from __future__ import annotations

import traceback


class DejaError(Exception):
    """The root: anything Deja raises on purpose."""


class ConfigError(DejaError):
    """A setting cannot be used; the message is one sentence that says which and how to mend it."""


class RequestError(DejaError):
    """The caller's request cannot be served as sent.

    Args:
        message: what happened and how to mend it.
        status: HTTP status: 400..499, 504, or 500 where nobody foresaw it.
        code: a stable machine-readable word, OpenAI's where it has one.
        param: the field or header at fault, None when no single one is.
        kind: OpenAI's error `type`.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str = "invalid_request",
        param: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param
        self.kind = kind


class StoreError(DejaError):
    """Redis did not do what was asked."""


class StoreUnavailableError(StoreError):
    """Redis gave no usable answer in time: refused, reset, timed out, or still loading its data."""


class StoreLoadingError(StoreUnavailableError):
    """Redis is up and reads its data from disk; it will serve by itself."""


class IndexMissingError(StoreError):
    """Redis answers, but the vector index is not there (flushed, or not yet rebuilt)."""


class StoreFullError(StoreError):
    """Redis refused a write because its memory is full."""


class UpstreamError(DejaError):
    """The model provider could not be reached.

    Args:
        message: what happened.
        was_sent: the request may have arrived, so that repeating it could be charged twice.
        is_theirs: it speaks against the provider, and not of this request or of Deja's own bounds.
    """

    def __init__(self, message: str = "", *, was_sent: bool = True, is_theirs: bool = True) -> None:
        super().__init__(message)
        self.was_sent = was_sent
        self.is_theirs = is_theirs


class UpstreamTimeoutError(UpstreamError):
    """The model provider did not answer in the time the settings allow."""


class UpstreamBrokenError(UpstreamError):
    """The answer stopped before its end."""


class EmbeddingError(DejaError):
    """A text could not be embedded."""


class AwayError(DejaError):
    """A Deja that is asked over HTTP gives no answer, or what answers there is none."""


def where(error: BaseException) -> str:
    """An unforeseen exception for the log: its type and where it came from, never its message, which may quote a prompt or a key."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at " + " < ".join(
        f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames)
    )
