"""All settings in one frozen object."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr

from proxy.settings.agents import (
    AgentSettings,
    DecisionSettings,
    EventSettings,
    JournalSettings,
    MemorySettings,
    RecordingSettings,
    SessionSettings,
    SignalSettings,
    TaskSettings,
)
from proxy.settings.costs import LedgerSettings
from proxy.settings.section import Section
from proxy.settings.serving import (
    AuditSettings,
    AuthSettings,
    CacheSettings,
    EmbedderSettings,
    LimitSettings,
    McpSettings,
    RedisSettings,
    UpstreamSettings,
)
from proxy.settings.telemetry import TelemetrySettings


class Settings(Section):
    """All settings, frozen."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=64, description="Processes that serve.")
    drain_s: float = Field(
        25.0, gt=0, description="Seconds that requests under way may still take once a worker is to end."
    )
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
    log_format: Literal["text", "json"] = Field("text", description="Lines for people, or a JSON object a line.")
    log_requests: bool = Field(False, description="Log a line for each request of a cached route, without its words.")
    upstream: UpstreamSettings = Field(default_factory=UpstreamSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    cache: CacheSettings = Field(default_factory=CacheSettings)
    embedder: EmbedderSettings = Field(default_factory=EmbedderSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    mcp: McpSettings = Field(default_factory=McpSettings)
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
    ledger: LedgerSettings = Field(default_factory=LedgerSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    model_list: tuple[dict[str, Any], ...] = Field(
        (),
        description="LiteLLM's `model_list`, in deja.yaml only.",
        repr=False,  # its entries may hold keys
    )

    router_settings: dict[str, Any] = Field(
        default_factory=dict,
        description="LiteLLM's `router_settings`: retries, fallbacks, balancing; in deja.yaml only.",
    )
    litellm_settings: dict[str, Any] = Field(
        default_factory=dict, description="What LiteLLM's `litellm_settings` says of the same; in deja.yaml only."
    )
    prices: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Prices of models by name, USD per token under LiteLLM's names, in deja.yaml only; they go before its table.",
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
