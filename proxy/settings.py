"""Every setting, its default and its check; the only reader of the environment.

A setting comes from the environment (`DEJA_CACHE__TTL_S`), else from `deja.yaml` (`cache: {ttl_s: …}`), else from the
default here. A wrong one stops the start with a sentence that names it. Secrets are `SecretStr`, so that no repr shows them.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo

from proxy.core.models import Mode
from proxy.errors import ConfigError

PREFIX = "DEJA_"
EMBEDDED_URL = "embedded://"
CLIENT_KEY = f"{PREFIX}API_KEY"
"""No setting: the key with which commands speak to a running Deja."""
OPENAI_URL = "https://api.openai.com/v1"


def _comma_list(value: object) -> object:
    """Let the environment write a list as `a,b`."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


SecretCommaList = Annotated[tuple[SecretStr, ...], BeforeValidator(_comma_list)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class UpstreamSettings(_Section):
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


class RedisSettings(_Section):
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


class CacheSettings(_Section):
    """What is cached, for how long, and how sure a hit must be."""

    mode: Mode = Field(Mode.SEMANTIC, description="What a request gets that does not say: off, exact, semantic, …")
    max_wrong_hit_rate: float = Field(
        0.01, gt=0, le=0.5, description="Wrong semantic hits among semantic hits, at most."
    )
    ttl_s: int = Field(3600, ge=1, description="Seconds an answer stays fresh unless the request says otherwise.")
    max_bytes: int = Field(512 << 20, ge=1 << 20, description="Bytes the cache may take in Redis, below maxmemory.")
    key_user: bool = Field(True, description="Keep answers for different `user` fields apart.")
    on_repeat: Literal["hit", "regenerate"] = Field(
        "hit", description="What the same request inside one session within seconds gets."
    )
    repeat_window_s: float = Field(10.0, ge=0, description="Those seconds.")
    candidates: int = Field(5, ge=3, le=50, description="Neighbours looked at per semantic look-up.")
    calibration: Path | None = Field(
        None, description="A calibration made by `deja tune PAIRS --calibrate`; unset: the one that comes with Deja."
    )


class EmbedderSettings(_Section):
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


class AuditSettings(_Section):
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


class AuthSettings(_Section):
    """Who may call."""

    keys: SecretCommaList = Field((), description="Keys of which a caller must present one. Empty: anyone on loopback.")
    allow_open_bind: bool = Field(False, description="Say aloud that others may reach Deja without a key.")


class SessionSettings(_Section):
    """What is recorded of a session."""

    ttl_s: int = Field(
        86_400, ge=1, description="Seconds a session is kept after its last use, unless it says otherwise."
    )
    max_turns: int = Field(1000, ge=2, description="Turns kept per session; older ones go first.")
    max_bytes: int = Field(16 << 20, ge=1 << 20, description="Bytes of messages kept per session; older ones go first.")
    max_message_bytes: int = Field(1 << 20, ge=1024, description="Largest message that can be appended by API.")
    max_data_bytes: int = Field(256 << 10, ge=1024, description="Structured data of a session, as JSON, at most.")


class JournalSettings(_Section):
    """The recorder behind sessions and journal."""

    queue_records: int = Field(
        10_000, ge=1, description="Records that wait for Redis, at most; more are counted and dropped."
    )
    max_events: int = Field(100_000, ge=100, description="Events kept in the journal; older ones go first.")
    hard_max_events: int = Field(
        500_000,
        ge=100,
        description="Events kept at most, where consumer groups have not acknowledged those above `max_events`.",
    )


class RecordingSettings(_Section):
    """The recordings of sessions, that replay and fork read. They hold requests and answers whole, in Redis alone."""

    max_bytes: int = Field(
        8 << 20, ge=0, description="Bytes that one session's recording may take; later requests are not in it. 0: none."
    )
    queue_bytes: int = Field(
        64 << 20,
        ge=1 << 20,
        description="Bytes of requests that wait for Redis, at most; more are counted and dropped.",
    )


class DecisionSettings(_Section):
    """The log of decisions that explain, feedback, what-if and `deja tune` read. It holds questions' texts, in Redis alone."""

    ttl_s: int = Field(86_400, ge=1, description="Seconds a decision is kept.")
    max_per_tenant: int = Field(
        10_000, ge=0, description="Decisions kept per tenant and stream, at most; 0 records none."
    )
    queue_records: int = Field(
        10_000, ge=1, description="Decisions that wait for Redis, at most; more are counted and dropped."
    )


class AgentSettings(_Section):
    """How much state agents may share."""

    max_agents: int = Field(10_000, ge=1, description="Agents per tenant, at most; one more gets 409.")
    max_fields: int = Field(64, ge=1, le=1000, description="Fields per agent, at most; more get 413.")
    value_bytes: int = Field(65_536, ge=256, description="Largest field of an agent; a larger one gets 413.")
    state_bytes: int = Field(262_144, ge=1024, description="Largest state of an agent, all fields together.")
    history: int = Field(1000, ge=100, description="Transitions kept per agent, about; older ones go first.")
    feed: int = Field(10_000, ge=100, description="Transitions kept of all agents of a tenant, about.")
    history_bytes: int = Field(4 << 20, ge=65_536, description="Memory that each of these two may take, about.")
    deleted_ttl_s: int = Field(604_800, ge=60, description="Seconds the history of a deleted agent is kept.")


class EventSettings(_Section):
    """Streams of events that agents append."""

    event_bytes: int = Field(262_144, ge=1024, description="Largest event, all its attributes together.")
    max_events: int = Field(
        100_000, ge=1, description="Events kept per stream, about; older ones go first. A stream may say otherwise."
    )
    max_age_s: int = Field(604_800, ge=1, description="Seconds an event is kept. A stream may say otherwise.")
    max_unread_events: int = Field(
        400_000,
        ge=1,
        description="Events kept where a consumer group lags; past it the oldest go unread. A stream may say otherwise.",
    )
    max_streams: int = Field(10_000, ge=1, description="Streams a tenant may have.")


class SignalSettings(_Section):
    """Signals, sent to whoever listens."""

    message_bytes: int = Field(65_536, ge=1024, description="Largest signal.")
    queue_signals: int = Field(
        256, ge=1, description="Signals that wait for a slow subscriber; older ones are left out."
    )
    max_subscribers: int = Field(10_000, ge=1, description="Subscribers of one process.")


class TaskSettings(_Section):
    """Queues of tasks: bounds, and how a queue works that does not say otherwise."""

    payload_bytes: int = Field(1 << 20, ge=1024, description="Largest payload, result, input or error, as JSON.")
    max_queues: int = Field(1000, ge=1, description="Queues a tenant may have.")
    max_updates: int = Field(10_000, ge=100, description="Changes of state kept per queue for who watches, about.")
    max_ended: int = Field(100_000, ge=1, description="Ended tasks kept per queue; older ones go first.")
    retention_s: int = Field(604_800, ge=1, description="Seconds an ended task is kept. A queue may say otherwise.")
    max_attempts: int = Field(
        5, ge=1, le=100, description="Claims after which a failing task is dead. A queue may say otherwise."
    )
    lease_s: float = Field(
        60.0, ge=1, le=86_400, description="Seconds a worker may be silent. A queue may say otherwise."
    )
    backoff_s: float = Field(
        1.0,
        ge=0,
        description="Seconds before a second attempt, doubled for each further one. A queue may say otherwise.",
    )
    max_backoff_s: float = Field(300.0, ge=0, description="Most of them. A queue may say otherwise.")


class MemorySettings(_Section):
    """Memory that a model has a part in."""

    model: str | None = Field(
        None,
        description="Model that writes summaries and draws memories; unset: nothing is summarised, and what users plainly say of "
        "themselves is remembered word for word.",
    )
    strategy: Literal["discrete", "summary", "preferences", "custom"] = Field(
        "discrete", description="How a model draws memories from what is said through the proxy."
    )
    prompt: str | None = Field(
        None, max_length=10_000, description="What it is to draw, in your words, where that is `custom`."
    )
    write_delay_s: float = Field(
        10.0,
        gt=0,
        le=3600,
        description="What one session says within so many seconds is drawn from together, after them.",
    )
    write_lease_s: float = Field(
        30.0, ge=1, le=3600, description="Seconds after which another process takes over the drawing of one that died."
    )
    read_limit: int = Field(5, ge=1, le=50, description="Memories told with one request, at most.")
    read_tokens: int = Field(1000, ge=100, le=100_000, description="Tokens they may take together, about.")
    read_max_distance: float = Field(
        0.7, gt=0, le=2, description="Cosine distance beyond which a memory has nothing to do with a question."
    )
    read_deadline_ms: float = Field(
        100.0, gt=0, description="Looking for memories takes no longer; the request goes on without."
    )


class LimitSettings(_Section):
    """What a request may cost before it is looked at."""

    body_bytes: int = Field(
        10 << 20, ge=1024, description="Largest request body of a cached route; larger ones get 413."
    )
    answer_bytes: int = Field(
        4 << 20, ge=1024, description="Largest answer that is stored; larger ones only pass through."
    )


class Settings(_Section):
    """All settings, frozen."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=64, description="Processes that serve.")
    data_dir: Path = Field(Path(), description="Where the embedded Redis, the models and Deja's own secret live.")
    artifacts_dir: Path | None = Field(
        None, description="Where fetched models and libraries live; else `<data_dir>/artifacts`."
    )
    config: Path | None = Field(None, description="The YAML file these settings may also stand in.")
    secret: SecretStr | None = Field(
        None,
        description="Key of the tenant hash; replicas on one Redis need the same. Unset: made once in the data directory.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is logged.")
    upstream: UpstreamSettings = Field(default_factory=UpstreamSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    cache: CacheSettings = Field(default_factory=CacheSettings)
    embedder: EmbedderSettings = Field(default_factory=EmbedderSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    sessions: SessionSettings = Field(default_factory=SessionSettings)
    journal: JournalSettings = Field(default_factory=JournalSettings)
    recordings: RecordingSettings = Field(default_factory=RecordingSettings)
    decisions: DecisionSettings = Field(default_factory=DecisionSettings)
    agents: AgentSettings = Field(default_factory=AgentSettings)
    events: EventSettings = Field(default_factory=EventSettings)
    signals: SignalSettings = Field(default_factory=SignalSettings)
    tasks: TaskSettings = Field(default_factory=TaskSettings)
    memory: MemorySettings = Field(default_factory=MemorySettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    model_list: tuple[dict[str, Any], ...] = Field(
        (),
        description="LiteLLM's `model_list`, in deja.yaml only.",
        repr=False,  # its entries may hold keys
    )

    @property
    def artifacts(self) -> Path:
        """Directory of fetched models and libraries."""
        return self.artifacts_dir or self.data_dir / "artifacts"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the listening address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def load(environ: Mapping[str, str], **overrides: object) -> Settings:
    """Read the settings.

    Args:
        environ: usually `os.environ`.
        overrides: top-level settings given on the command line; None means not given.

    Raises:
        ConfigError: one sentence that names the setting and how to mend it.
    """
    values = _from_yaml(_config_path(environ, overrides.get("config")))
    _merge(values, _from_environ(environ))
    _merge(values, {name: value for name, value in overrides.items() if value is not None})
    upstream = values.setdefault("upstream", {})
    if isinstance(upstream, dict):
        _honour_openai_names(upstream, environ)
    values.setdefault("data_dir", _default_data_dir(environ))
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_sentence(error)) from None
    _refuse_open_bind(settings)
    return settings


def _honour_openai_names(upstream: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Fill an unset upstream from the names OpenAI's own clients read."""
    key = environ.get("OPENAI_API_KEY")
    base_url = environ.get("OPENAI_BASE_URL") or (OPENAI_URL if key else None)
    if base_url and not upstream.get("base_url"):
        upstream["base_url"] = base_url
    if key and not upstream.get("api_key"):
        upstream["api_key"] = key


def _config_path(environ: Mapping[str, str], given: object) -> Path | None:
    named = given or environ.get(f"{PREFIX}CONFIG")
    if named:
        path = Path(str(named))
        if not path.is_file():
            raise ConfigError(f"The configuration file {path} does not exist; correct --config or {PREFIX}CONFIG.")
        return path
    default = Path("deja.yaml")
    return default if default.is_file() else None


def _from_yaml(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"The configuration file {path} cannot be read as YAML: {_why_not_yaml(error)}.") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(
            f"The configuration file {path} must hold a mapping of settings, such as `cache: {{ttl_s: 60}}`."
        )
    # A section whose every line is commented out reads as null: it is not set.
    return {str(name): value for name, value in loaded.items() if value is not None}


def _why_not_yaml(error: OSError | UnicodeDecodeError | yaml.YAMLError) -> str:
    """What is wrong and where, without the text itself: the line may hold a key."""
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1} is not valid YAML"
    return "it is not text in UTF-8"


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    known = environment_names()
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name == CLIENT_KEY:
            continue
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "see docs/reference/settings.md for the names."
            raise ConfigError(f"{name} is not a setting; {hint}")
        if value == "":
            continue
        node = values
        *sections, leaf = name.removeprefix(PREFIX).lower().split("__")
        for section in sections:
            node = node.setdefault(section, {})
        node[leaf] = value
    return values


def environment_names() -> dict[str, FieldInfo]:
    """Every environment variable that is a setting, in the order of this file."""
    names: dict[str, FieldInfo] = {}
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, _Section):
            for leaf, leaf_field in section.model_fields.items():
                names[f"{PREFIX}{name}__{leaf}".upper()] = leaf_field
        elif name != "model_list":
            names[f"{PREFIX}{name}".upper()] = field
    return names


def _merge(target: dict[str, Any], source: Mapping[str, Any]) -> None:
    """Lay `source` over `target`, section by section."""
    for name, value in source.items():
        if isinstance(value, Mapping) and isinstance(target.get(name), dict):
            _merge(target[name], value)
        else:
            target[name] = value


def _default_data_dir(environ: Mapping[str, str]) -> Path:
    """`$XDG_DATA_HOME/deja`, as the XDG base directory specification says."""
    base = environ.get("XDG_DATA_HOME")
    return Path(base) / "deja" if base else Path.home() / ".local" / "share" / "deja"


def _sentence(error: ValidationError) -> str:
    """The first thing wrong, as one sentence; the value itself is left out, it may be a secret."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    path = [str(part) for part in first["loc"]]
    yaml_name = ".".join(path)
    env_name = PREFIX + "__".join(part for part in first["loc"] if isinstance(part, str)).upper()
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"{yaml_name} ({env_name}) is not a setting; see docs/reference/settings.md for the names."
    return f"{env_name} (in deja.yaml: {yaml_name}) cannot be used: {message[0].lower()}{message[1:]}."


def _refuse_open_bind(settings: Settings) -> None:
    if settings.is_loopback or settings.auth.keys or settings.auth.allow_open_bind:
        return
    raise ConfigError(
        f"Listening on {settings.host} would let others in without a key: set DEJA_AUTH__KEYS, "
        "or DEJA_AUTH__ALLOW_OPEN_BIND=true if that is meant, or keep to 127.0.0.1."
    )
