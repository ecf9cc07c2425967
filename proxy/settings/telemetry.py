"""Section of the settings for what Deja tells of its requests to tracing systems."""

from __future__ import annotations

from pydantic import Field, field_validator

from proxy.settings.section import Section


class TelemetrySettings(Section):
    """OpenTelemetry traces."""

    otlp_endpoint: str | None = Field(
        None, description="Collector's address for OTLP over HTTP, such as http://collector:4318. Unset: no traces."
    )
    service_name: str = Field("deja", min_length=1, description="What traces call this service.")
    sample_share: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the traces that begin here that is sent; a caller's own decides for itself.",
    )
    capture_content: bool = Field(False, description="Put prompts and answers into traces.")

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("it must begin with http:// or https:// (OTLP over gRPC is not spoken)")
        return value
