"""Reads the settings from the environment and `deja.yaml`, and says in one sentence what is wrong with them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from proxy.errors import ConfigError
from proxy.settings.all import Settings
from proxy.settings.section import ADMIN_KEY, CLIENT_KEY, OPENAI_URL, PREFIX, Section

FILE_ONLY = frozenset({"model_list", "router_settings", "litellm_settings", "prices"})
"""Settings that no environment variable can hold."""


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
    telemetry = values.setdefault("telemetry", {})
    if isinstance(telemetry, dict):
        _honour_otel_names(telemetry, environ)
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


def _honour_otel_names(telemetry: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Fill unset telemetry from the names OpenTelemetry's own SDKs read."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        telemetry["otlp_endpoint"] = None
        return
    endpoint = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if endpoint and not telemetry.get("otlp_endpoint"):
        telemetry["otlp_endpoint"] = endpoint
    if (name := environ.get("OTEL_SERVICE_NAME")) and not telemetry.get("service_name"):
        telemetry["service_name"] = name


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
        if not name.startswith(PREFIX) or name in (CLIENT_KEY, ADMIN_KEY):
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
        if isinstance(section, type) and issubclass(section, Section):
            for leaf, leaf_field in section.model_fields.items():
                names[f"{PREFIX}{name}__{leaf}".upper()] = leaf_field
        elif name not in FILE_ONLY:
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
    auth = settings.auth
    if settings.is_loopback or auth.keys or auth.required or auth.allow_open_bind:
        return
    raise ConfigError(
        f"Listening on {settings.host} would let others in without a key: set DEJA_AUTH__REQUIRED=true and make keys with "
        "`deja keys create`, or set DEJA_AUTH__KEYS, or DEJA_AUTH__ALLOW_OPEN_BIND=true if that is meant, or keep to 127.0.0.1."
    )
