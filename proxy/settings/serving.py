"""Sections of the settings that completions, the cache and the way to providers need."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from proxy.core.models import Mode
from proxy.settings.section import EMBEDDED_URL, CommaList, SecretCommaList, Section


class UpstreamSettings(Section):
    """The model provider that serves what the cache does not."""

    base_url: str | None = Field(None, description="Provider's base URL, ends in /v1. Unset: the simulated provider.")
    api_key: SecretStr | None = Field(None, description="Replaces the caller's credential on the way up.")
    connect_timeout_s: float = Field(5.0, gt=0, description="Seconds to wait for a connection.")
    read_timeout_s: float = Field(600.0, gt=0, description="Seconds of silence after which a call is given up.")
    max_connections: int = Field(1000, ge=1, description="Connections kept to the provider, at most.")

    @field_validator("base_url")
    @classmethod
    def _has_scheme(cls, value: str | None) -> str | None:
        if not value:
            return None
        if not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")


class RedisSettings(Section):
    """Where the data lives."""

    url: str = Field(
        EMBEDDED_URL,
        description="`embedded://`, or a redis://, rediss://, unix:// or redis+sentinel:// URL.",
        repr=False,  # it may hold a password
    )
    deadline_ms: float = Field(
        50.0, gt=0, description="A look-up that takes longer is given up; the call goes upstream."
    )
    store_deadline_ms: float = Field(
        500.0, gt=0, description="The same for storing an answer, before its last byte leaves."
    )
    keep_deadline_ms: float = Field(
        5000.0, gt=0, description="A task's step that is not known to be kept for so long is answered with 503."
    )
    max_connections: int = Field(64, ge=1, description="Connections to Redis, at most.")
    max_memory_bytes: int = Field(
        1 << 30, ge=64 << 20, description="Memory cap of the embedded server; an external one has its own."
    )


class CacheSettings(Section):
    """What is cached, for how long, and how sure a hit must be."""

    mode: Mode = Field(Mode.SEMANTIC, description="What a request gets that does not say: off, exact, semantic, …")
    max_wrong_hit_rate: float = Field(
        0.01, gt=0, le=0.5, description="Wrong semantic hits among semantic hits, at most."
    )
    ttl_s: int = Field(3600, ge=1, description="Seconds an answer stays fresh unless the request says otherwise.")
    responses_ttl_s: int = Field(
        30 * 86_400,
        ge=1,
        description="Seconds that a response replayed from the cache can be gone on from by its id; OpenAI keeps its own for 30 days.",
    )
    max_bytes: int = Field(512 << 20, ge=1 << 20, description="Bytes the cache may take in Redis, below maxmemory.")
    local_bytes: int = Field(
        8 << 20,
        ge=0,
        description="Bytes of exact answers that each process keeps at hand while Redis tells it of changes; 0: none.",
    )
    encryption_keys: SecretCommaList = Field(
        (),
        description="Keys for what users said and were told, in Redis: 32 bytes each in base64; the first encrypts, all decrypt.",
    )
    key_user: bool = Field(True, description="Keep answers for different `user` fields apart.")
    on_repeat: Literal["hit", "regenerate"] = Field(
        "hit", description="What the same request inside one session within seconds gets."
    )
    repeat_window_s: float = Field(10.0, ge=0, description="Those seconds.")
    stale_while_revalidate_s: int = Field(
        0, ge=0, description="Seconds past its freshness in which an answer is served while a new one is fetched."
    )
    stale_if_error_s: int = Field(
        0, ge=0, description="Seconds past its freshness in which an answer stands in for a provider that fails."
    )
    refresh_ahead: float = Field(
        0.0, ge=0, lt=1, description="Last share of its time to live in which a popular answer is fetched anew."
    )
    shared_flights: bool | None = Field(
        None,
        description="One call for identical misses of all processes. Unset: yes, unless the embedded Redis has one process alone.",
    )
    candidates: int = Field(5, ge=3, le=50, description="Neighbours looked at per semantic look-up.")
    calibration: Path | None = Field(
        None, description="A calibration made by `deja tune PAIRS --calibrate`; unset: the one that comes with Deja."
    )

    @field_validator("encryption_keys")
    @classmethod
    def _are_keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in value:
            try:
                is_key = len(b64decode(key.get_secret_value(), validate=True)) == 32
            except ValueError:
                is_key = False
            if not is_key:
                raise ValueError("each must be 32 bytes in base64, as `openssl rand -base64 32` makes them")
        return value


class EmbedderSettings(Section):
    """What turns a text into a vector."""

    source: str = Field(
        "package", description="`package`, a local directory, a hub id, or the base URL of any /v1/embeddings."
    )
    model: str | None = Field(None, description="Model name to ask a remote embedder for.")
    api_key: SecretStr | None = Field(None, description="Credential for a remote embedder.")
    precision: Literal["int8", "fp32"] = Field("int8", description="Weights of a local model.")
    threads: int = Field(1, ge=1, le=64, description="Threads of a local model.")
    deadline_ms: float = Field(
        1000.0, gt=0, description="An embedding, or a verification, that takes longer is given up."
    )
    previous_source: str | None = Field(
        None,
        description="The source until now, after a change: what it embedded goes on answering, and is embedded anew in the background.",
    )
    previous_model: str | None = Field(None, description="Its model name, of a remote one.")
    previous_api_key: SecretStr | None = Field(None, description="Its credential, of a remote one.")
    previous_precision: Literal["int8", "fp32"] = Field("int8", description="Its weights, of a local one.")

    @property
    def previous(self) -> EmbedderSettings | None:
        """The embedder that was used until now; None where none is named."""
        if self.previous_source is None:
            return None
        return EmbedderSettings(
            source=self.previous_source,
            model=self.previous_model,
            api_key=self.previous_api_key,
            precision=self.previous_precision,
            threads=self.threads,
            deadline_ms=self.deadline_ms,
        )


class AuditSettings(Section):
    """How the wrong-hit rate is measured on live traffic."""

    share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of hits by meaning that is asked again at the provider and judged; more at first. 0: no audits.",
    )
    max_per_hour: int = Field(
        100, ge=0, description="Extra calls to providers that audits may make in any hour, at most, in each process."
    )
    judge_model: str | None = Field(
        None, description="Model that compares the answers; unset: their texts are compared, which is coarser."
    )


class AuthSettings(Section):
    """Who may call."""

    keys: SecretCommaList = Field((), description="Keys of which a caller must present one. Empty: anyone on loopback.")
    required: bool = Field(
        False, description="A caller must present a key, even if none is configured: one that `deja keys create` made."
    )
    admin_keys: SecretCommaList = Field((), description="Keys for `/admin`, which open no data.")
    allow_open_bind: bool = Field(False, description="Say aloud that others may reach Deja without a key.")


class McpSettings(Section):
    """Who may call /mcp besides this machine's own addresses and pages."""

    allowed_hosts: CommaList = Field(
        (), description="Names by which `/mcp` may be called without keys, such as `deja.internal`; no port means any."
    )
    allowed_origins: CommaList = Field(
        (), description="Origins whose pages may call `/mcp`, such as `https://chat.example.com`."
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if any("/" in value or "*" in value for value in values):
            raise ValueError("write names such as deja.internal or deja.internal:8080, without a scheme or a *")
        return tuple(value.lower() for value in values)

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        values = tuple(value.rstrip("/").lower() for value in values)
        if any("*" in value or "/" in value.partition("://")[2] or "://" not in value for value in values):
            raise ValueError("write origins such as https://chat.example.com, without a path or a *")
        return values


class LimitSettings(Section):
    """What a request may cost before it is looked at."""

    body_bytes: int = Field(
        10 << 20, ge=1024, description="Largest request body of a cached route; larger ones get 413."
    )
    requests_per_minute: int | None = Field(
        None, ge=1, description="Requests a minute for callers whose key says nothing of it; unset: no limit."
    )
    answer_bytes: int = Field(
        4 << 20, ge=1024, description="Largest answer that is stored; larger ones only pass through."
    )
