from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from proxy.core.models import Mode
from proxy.errors import ConfigError
from proxy.settings import Settings, environment_names, load

# A value other than its default for every environment variable, and what it means.
VALUES: dict[str, tuple[str, Any]] = {
    "DEJA_HOST": ("::1", "::1"),
    "DEJA_PORT": ("0", 0),
    "DEJA_WORKERS": ("2", 2),
    "DEJA_DATA_DIR": ("/var/deja", Path("/var/deja")),
    "DEJA_ARTIFACTS_DIR": ("/opt/deja", Path("/opt/deja")),
    "DEJA_SECRET": ("hush", SecretStr("hush")),
    "DEJA_LOG_LEVEL": ("debug", "debug"),
    "DEJA_UPSTREAM__BASE_URL": ("https://llm.example/v1/", "https://llm.example/v1"),
    "DEJA_UPSTREAM__API_KEY": ("sk-1", SecretStr("sk-1")),
    "DEJA_UPSTREAM__CONNECT_TIMEOUT_S": ("2.5", 2.5),
    "DEJA_UPSTREAM__READ_TIMEOUT_S": ("30", 30.0),
    "DEJA_UPSTREAM__MAX_CONNECTIONS": ("10", 10),
    "DEJA_REDIS__URL": ("redis://cache:6379/1", "redis://cache:6379/1"),
    "DEJA_REDIS__DEADLINE_MS": ("20", 20.0),
    "DEJA_REDIS__STORE_DEADLINE_MS": ("200", 200.0),
    "DEJA_REDIS__KEEP_DEADLINE_MS": ("900", 900.0),
    "DEJA_REDIS__MAX_CONNECTIONS": ("8", 8),
    "DEJA_REDIS__MAX_MEMORY_BYTES": ("134217728", 1 << 27),
    "DEJA_CACHE__MODE": ("read-only", Mode.READ_ONLY),
    "DEJA_CACHE__MAX_WRONG_HIT_RATE": ("0.02", 0.02),
    "DEJA_CACHE__CALIBRATION": ("mine.json", Path("mine.json")),
    "DEJA_CACHE__TTL_S": ("60", 60),
    "DEJA_CACHE__MAX_BYTES": ("1048576", 1 << 20),
    "DEJA_CACHE__ENCRYPTION_KEYS": (f"{'A' * 43}=", (SecretStr(f"{'A' * 43}="),)),
    "DEJA_CACHE__KEY_USER": ("false", False),
    "DEJA_CACHE__LOCAL_BYTES": ("0", 0),
    "DEJA_CACHE__REFRESH_AHEAD": ("0.2", 0.2),
    "DEJA_CACHE__SHARED_FLIGHTS": ("false", False),
    "DEJA_CACHE__STALE_IF_ERROR_S": ("60", 60),
    "DEJA_CACHE__STALE_WHILE_REVALIDATE_S": ("30", 30),
    "DEJA_DRAIN_S": ("5", 5.0),
    "DEJA_LEDGER__KEEP_DAYS": ("30", 30),
    "DEJA_LOG_FORMAT": ("json", "json"),
    "DEJA_LOG_REQUESTS": ("true", True),
    "DEJA_TELEMETRY__CAPTURE_CONTENT": ("true", True),
    "DEJA_TELEMETRY__OTLP_ENDPOINT": ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
    "DEJA_TELEMETRY__SAMPLE_SHARE": ("0.5", 0.5),
    "DEJA_TELEMETRY__SERVICE_NAME": ("front", "front"),
    "DEJA_CACHE__RESPONSES_TTL_S": ("3600", 3600),
    "DEJA_CACHE__ON_REPEAT": ("regenerate", "regenerate"),
    "DEJA_CACHE__REPEAT_WINDOW_S": ("5", 5.0),
    "DEJA_CACHE__CANDIDATES": ("7", 7),
    "DEJA_EMBEDDER__SOURCE": ("/models/minilm", "/models/minilm"),
    "DEJA_EMBEDDER__MODEL": ("text-embedding-3-small", "text-embedding-3-small"),
    "DEJA_EMBEDDER__API_KEY": ("sk-2", SecretStr("sk-2")),
    "DEJA_EMBEDDER__PRECISION": ("fp32", "fp32"),
    "DEJA_EMBEDDER__THREADS": ("2", 2),
    "DEJA_EMBEDDER__DEADLINE_MS": ("100", 100.0),
    "DEJA_EMBEDDER__PREVIOUS_SOURCE": ("./old", "./old"),
    "DEJA_EMBEDDER__PREVIOUS_MODEL": ("text-embedding-3-small", "text-embedding-3-small"),
    "DEJA_EMBEDDER__PREVIOUS_API_KEY": ("sk-old", SecretStr("sk-old")),
    "DEJA_EMBEDDER__PREVIOUS_PRECISION": ("fp32", "fp32"),
    "DEJA_AUDIT__SHARE": ("0.1", 0.1),
    "DEJA_AUDIT__MAX_PER_HOUR": ("0", 0),
    "DEJA_AUDIT__JUDGE_MODEL": ("gpt-4o-mini", "gpt-4o-mini"),
    "DEJA_AUTH__KEYS": ("k1, k2,", (SecretStr("k1"), SecretStr("k2"))),
    "DEJA_AUTH__REQUIRED": ("true", True),
    "DEJA_AUTH__ADMIN_KEYS": ("a1", (SecretStr("a1"),)),
    "DEJA_AUTH__ALLOW_OPEN_BIND": ("true", True),
    "DEJA_MCP__ALLOWED_HOSTS": ("Deja.internal, deja.example:8443", ("deja.internal", "deja.example:8443")),
    "DEJA_MCP__ALLOWED_ORIGINS": ("https://Chat.example/", ("https://chat.example",)),
    "DEJA_SESSIONS__TTL_S": ("60", 60),
    "DEJA_SESSIONS__MAX_TURNS": ("10", 10),
    "DEJA_SESSIONS__MAX_BYTES": ("2000000", 2000000),
    "DEJA_SESSIONS__MAX_MESSAGE_BYTES": ("2048", 2048),
    "DEJA_SESSIONS__MAX_DATA_BYTES": ("2048", 2048),
    "DEJA_JOURNAL__QUEUE_RECORDS": ("10", 10),
    "DEJA_JOURNAL__MAX_EVENTS": ("1000", 1000),
    "DEJA_JOURNAL__HARD_MAX_EVENTS": ("2000", 2000),
    "DEJA_RECORDINGS__MAX_BYTES": ("0", 0),
    "DEJA_RECORDINGS__QUEUE_BYTES": ("2000000", 2000000),
    "DEJA_DECISIONS__TTL_S": ("60", 60),
    "DEJA_DECISIONS__MAX_PER_TENANT": ("0", 0),
    "DEJA_DECISIONS__QUEUE_RECORDS": ("10", 10),
    "DEJA_AGENTS__MAX_AGENTS": ("5", 5),
    "DEJA_AGENTS__MAX_FIELDS": ("6", 6),
    "DEJA_AGENTS__VALUE_BYTES": ("2048", 2048),
    "DEJA_AGENTS__STATE_BYTES": ("4096", 4096),
    "DEJA_AGENTS__HISTORY": ("200", 200),
    "DEJA_AGENTS__FEED": ("300", 300),
    "DEJA_AGENTS__HISTORY_BYTES": ("65536", 65536),
    "DEJA_AGENTS__DELETED_TTL_S": ("60", 60),
    "DEJA_EVENTS__EVENT_BYTES": ("2048", 2048),
    "DEJA_EVENTS__MAX_EVENTS": ("10", 10),
    "DEJA_EVENTS__MAX_AGE_S": ("60", 60),
    "DEJA_EVENTS__MAX_UNREAD_EVENTS": ("20", 20),
    "DEJA_EVENTS__MAX_STREAMS": ("3", 3),
    "DEJA_SIGNALS__MESSAGE_BYTES": ("2048", 2048),
    "DEJA_SIGNALS__QUEUE_SIGNALS": ("4", 4),
    "DEJA_SIGNALS__MAX_SUBSCRIBERS": ("5", 5),
    "DEJA_TASKS__PAYLOAD_BYTES": ("2048", 2048),
    "DEJA_TASKS__MAX_QUEUES": ("3", 3),
    "DEJA_TASKS__MAX_UPDATES": ("200", 200),
    "DEJA_TASKS__MAX_ENDED": ("7", 7),
    "DEJA_TASKS__RETENTION_S": ("60", 60),
    "DEJA_TASKS__MAX_ATTEMPTS": ("2", 2),
    "DEJA_TASKS__LEASE_S": ("5", 5.0),
    "DEJA_TASKS__BACKOFF_S": ("0.5", 0.5),
    "DEJA_TASKS__MAX_BACKOFF_S": ("10", 10.0),
    "DEJA_MEMORY__MODEL": ("gpt-4o-mini", "gpt-4o-mini"),
    "DEJA_MEMORY__STRATEGY": ("summary", "summary"),
    "DEJA_MEMORY__PROMPT": ("Note what is liked.", "Note what is liked."),
    "DEJA_MEMORY__WRITE_DELAY_S": ("1", 1.0),
    "DEJA_MEMORY__WRITE_LEASE_S": ("5", 5.0),
    "DEJA_MEMORY__READ_LIMIT": ("3", 3),
    "DEJA_MEMORY__READ_TOKENS": ("200", 200),
    "DEJA_MEMORY__READ_MAX_DISTANCE": ("0.5", 0.5),
    "DEJA_MEMORY__READ_DEADLINE_MS": ("20", 20.0),
    "DEJA_LIMITS__BODY_BYTES": ("2048", 2048),
    "DEJA_LIMITS__REQUESTS_PER_MINUTE": ("600", 600),
    "DEJA_LIMITS__ANSWER_BYTES": ("2048", 2048),
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without a deja.yaml of the developer's."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(environ: dict[str, str], **overrides: object) -> str:
    """The sentence with which a start is refused."""
    with pytest.raises(ConfigError) as caught:
        load(environ, **overrides)
    sentence = str(caught.value)
    assert sentence.endswith((".", "?"))
    assert "\n" not in sentence
    return sentence


def value_of(settings: Settings, name: str) -> Any:
    value: Any = settings
    for part in name.removeprefix("DEJA_").lower().split("__"):
        value = getattr(value, part)
    return value


# --- the environment --------------------------------------------------------------------------------------------------------------


def test_every_setting_has_a_case_here() -> None:
    assert VALUES.keys() | {"DEJA_CONFIG"} == environment_names().keys()


@pytest.mark.parametrize("name", VALUES)
def test_every_environment_variable_sets_its_setting(name: str) -> None:
    written, meant = VALUES[name]
    settings = load({name: written})
    assert value_of(settings, name) == meant != value_of(load({}), name)


def test_every_setting_says_what_it_is_for() -> None:
    assert all(field.description for field in environment_names().values())


@pytest.mark.parametrize("name", VALUES)
def test_an_empty_variable_is_an_unset_one(name: str) -> None:
    assert load({name: ""}) == load({})


def test_variables_of_others_are_left_alone() -> None:
    assert load({"PATH": "/bin", "DEJAVU": "1", "deja_port": "1", "REDIS_URL": "x"}) == load({})


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("DEJA_CACHE__TTL", "DEJA_CACHE__TTL_S"),
        ("DEJA_CACHE_TTL_S", "DEJA_CACHE__TTL_S"),
        ("DEJA_UPSTREAM_BASE_URL", "DEJA_UPSTREAM__BASE_URL"),
        ("DEJA_REDIS_URL", "DEJA_REDIS__URL"),
        ("DEJA_PROT", "DEJA_PORT"),
    ],
)
def test_a_misspelt_variable_is_refused_with_a_suggestion(misspelt: str, meant: str) -> None:
    sentence = refused({misspelt: "secret-value"})
    assert misspelt in sentence
    assert f"did you mean {meant}?" in sentence
    assert "secret-value" not in sentence


def test_a_variable_like_no_other_is_refused_too() -> None:
    assert "DEJA_XYZZY__QQQ is not a setting" in refused({"DEJA_XYZZY__QQQ": "1"})
    assert "DEJA_MODEL_LIST is not a setting" in refused({"DEJA_MODEL_LIST": "[]"})
    assert "DEJA_CACHE is not a setting" in refused({"DEJA_CACHE": "off"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEJA_PORT", "eighty"),
        ("DEJA_PORT", "70000"),
        ("DEJA_WORKERS", "0"),
        ("DEJA_LOG_LEVEL", "loud"),
        ("DEJA_UPSTREAM__BASE_URL", "llm.example/v1"),
        ("DEJA_UPSTREAM__READ_TIMEOUT_S", "0"),
        ("DEJA_REDIS__DEADLINE_MS", "-1"),
        ("DEJA_REDIS__MAX_MEMORY_BYTES", "64"),
        ("DEJA_CACHE__MODE", "fast"),
        ("DEJA_CACHE__MAX_WRONG_HIT_RATE", "1.5"),
        ("DEJA_CACHE__MAX_WRONG_HIT_RATE", "0"),
        ("DEJA_CACHE__TTL_S", "1h"),
        ("DEJA_CACHE__KEY_USER", "perhaps"),
        ("DEJA_CACHE__ENCRYPTION_KEYS", "c2hvcnQ="),
        ("DEJA_CACHE__CANDIDATES", "2"),
        ("DEJA_EMBEDDER__PRECISION", "int4"),
        ("DEJA_MCP__ALLOWED_HOSTS", "http://deja.here"),
        ("DEJA_MCP__ALLOWED_HOSTS", "*.deja.here"),
        ("DEJA_MCP__ALLOWED_ORIGINS", "chat.here"),
        ("DEJA_MCP__ALLOWED_ORIGINS", "https://chat.here/page"),
        ("DEJA_LIMITS__BODY_BYTES", "10"),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_the_setting_and_not_the_value(name: str, value: str) -> None:
    sentence = refused({name: value})
    assert name in sentence
    assert name.removeprefix("DEJA_").lower().replace("__", ".") in sentence
    assert value not in sentence or value.isdigit()


# --- deja.yaml --------------------------------------------------------------------------------------------------------------------

YAML = """
port: 9000
upstream: {base_url: https://llm.example/v1, api_key: sk-yaml}
cache:
  ttl_s: 60
  mode: exact
auth: {keys: [one, two]}
model_list:
  - model_name: fast
    litellm_params: {model: openai/gpt-4o-mini, api_key: sk-list}
"""


@pytest.fixture
def write(elsewhere: Path) -> Callable[..., Path]:
    def writer(text: str, name: str = "deja.yaml") -> Path:
        path = elsewhere / name
        path.write_text(text, encoding="utf-8")
        return path

    return writer


def test_the_same_names_may_stand_in_deja_yaml(write: Callable[..., Path]) -> None:
    write(YAML)
    settings = load({})
    assert (settings.port, settings.cache.ttl_s, settings.cache.mode) == (9000, 60, Mode.EXACT)
    assert settings.upstream.base_url == "https://llm.example/v1"
    assert [key.get_secret_value() for key in settings.auth.keys] == ["one", "two"]
    assert settings.model_list[0]["model_name"] == "fast"
    assert settings.redis == load({}).redis


def test_the_environment_wins_over_the_file_field_by_field(write: Callable[..., Path]) -> None:
    write(YAML)
    settings = load({"DEJA_CACHE__TTL_S": "5", "DEJA_AUTH__KEYS": "three"})
    assert (settings.cache.ttl_s, settings.cache.mode, settings.port) == (5, Mode.EXACT, 9000)
    assert [key.get_secret_value() for key in settings.auth.keys] == ["three"]


def test_the_command_line_wins_over_both(write: Callable[..., Path]) -> None:
    write(YAML)
    assert load({"DEJA_PORT": "1"}, port=2, host=None).port == 2
    assert load({"DEJA_PORT": "1"}, port=None).port == 1


def test_another_file_can_be_named(write: Callable[..., Path]) -> None:
    write("port: 1")
    other = write("port: 2", "other.yaml")
    assert load({"DEJA_CONFIG": str(other)}).port == 2
    assert load({"DEJA_CONFIG": "nowhere.yaml"}, config=other).port == 2
    assert load({"DEJA_CONFIG": str(other)}).config == other


def test_a_named_file_that_is_not_there_is_refused() -> None:
    assert "nowhere.yaml does not exist" in refused({"DEJA_CONFIG": "nowhere.yaml"})


@pytest.mark.parametrize("text", ["", "# nothing\n", "cache:\n  # ttl_s: 5\nupstream:\n"])
def test_what_is_commented_out_is_not_set(write: Callable[..., Path], text: str) -> None:
    write(text)
    assert load({}) == Settings(data_dir=load({}).data_dir)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("- a", "must hold a mapping", id="a list"),
        pytest.param("just words", "must hold a mapping", id="words"),
        pytest.param("cache: [unclosed", "cannot be read as YAML", id="not yaml"),
        pytest.param("cache: 5", "DEJA_CACHE", id="section a number"),
        pytest.param("upstream: 5", "DEJA_UPSTREAM", id="upstream a number"),
        pytest.param("cache: {ttl: 5}", "cache.ttl (DEJA_CACHE__TTL) is not a setting", id="unknown"),
        pytest.param("cahce: {ttl_s: 5}", "cahce (DEJA_CAHCE) is not a setting", id="unknown section"),
        pytest.param("cache: {ttl_s: soon}", "cache.ttl_s", id="bad value"),
        pytest.param("auth: {keys: [1]}", "DEJA_AUTH__KEYS (in deja.yaml: auth.keys.0)", id="key a number"),
        pytest.param("model_list: {a: 1}", "model_list", id="model_list a mapping"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(write: Callable[..., Path], text: str, says: str) -> None:
    write(text)
    assert says in refused({})


def test_the_refusal_of_a_file_does_not_quote_it(write: Callable[..., Path]) -> None:
    write('upstream:\n  api_key: "sk-secret\n')
    sentence = refused({})
    assert "sk-secret" not in sentence
    assert "line" in sentence


def test_a_file_that_is_no_text_is_refused(elsewhere: Path) -> None:
    (elsewhere / "deja.yaml").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read as YAML" in refused({})


def test_a_file_that_cannot_be_opened_is_refused(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    write("port: 1")
    monkeypatch.setattr(Path, "read_text", refuse)
    assert "deja.yaml cannot be read as YAML: permission denied." in refused({})


def test_an_empty_base_url_in_the_file_is_an_unset_one(write: Callable[..., Path]) -> None:
    write('upstream: {base_url: ""}')
    assert load({}).upstream.base_url is None


# --- OpenAI's own names -----------------------------------------------------------------------------------------------------------


def test_openais_names_are_honoured() -> None:
    upstream = load({"OPENAI_API_KEY": "sk-o", "OPENAI_BASE_URL": "https://o.example/v1"}).upstream
    assert upstream.base_url == "https://o.example/v1"
    assert upstream.api_key == SecretStr("sk-o")


def test_openais_key_alone_means_openai() -> None:
    assert load({"OPENAI_API_KEY": "sk-o"}).upstream.base_url == "https://api.openai.com/v1"


def test_our_names_win_over_openais() -> None:
    environ = {"OPENAI_API_KEY": "sk-o", "OPENAI_BASE_URL": "https://o.example/v1"}
    ours = {"DEJA_UPSTREAM__API_KEY": "sk-d", "DEJA_UPSTREAM__BASE_URL": "https://d.example/v1"}
    upstream = load(environ | ours).upstream
    assert (upstream.base_url, upstream.api_key) == ("https://d.example/v1", SecretStr("sk-d"))


def test_the_file_wins_over_openais_names(write: Callable[..., Path]) -> None:
    write(YAML)
    upstream = load({"OPENAI_API_KEY": "sk-o", "OPENAI_BASE_URL": "https://o.example/v1"}).upstream
    assert (upstream.base_url, upstream.api_key) == ("https://llm.example/v1", SecretStr("sk-yaml"))


def test_no_provider_at_all_is_the_simulated_one() -> None:
    assert load({}).upstream.base_url is None
    assert load({"DEJA_UPSTREAM__BASE_URL": "", "OPENAI_API_KEY": ""}).upstream.base_url is None


# --- who may reach it -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_is_open_without_keys(host: str) -> None:
    assert load({"DEJA_HOST": host}).is_loopback


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.5", "deja.example", "localhost.example", "127.0.0.1.example"]
)
def test_anything_else_needs_keys_or_to_be_said_aloud(host: str) -> None:
    sentence = refused({"DEJA_HOST": host})
    assert host in sentence
    assert "DEJA_AUTH__KEYS" in sentence
    assert not load({"DEJA_HOST": host, "DEJA_AUTH__KEYS": "k"}).is_loopback
    assert not load({"DEJA_HOST": host, "DEJA_AUTH__ALLOW_OPEN_BIND": "yes"}).is_loopback
    with pytest.raises(ConfigError):
        load({"DEJA_AUTH__KEYS": " , "}, host=host)


# --- secrets and places -----------------------------------------------------------------------------------------------------------


def test_no_repr_shows_a_secret(write: Callable[..., Path]) -> None:
    write(YAML)
    environ = {name: "hunter2" for name in VALUES if name.endswith(("KEY", "KEYS", "SECRET"))}
    environ["DEJA_CACHE__ENCRYPTION_KEYS"] = f"hunter2{'A' * 36}="
    settings = load(environ | {"DEJA_REDIS__URL": "redis://user:hunter2@cache:6379"})
    for text in (repr(settings), str(settings), repr(settings.redis), repr(settings.upstream)):
        assert "hunter2" not in text
        assert "sk-list" not in text


def test_settings_are_frozen() -> None:
    settings = load({})
    with pytest.raises(ValueError):
        settings.port = 1  # type: ignore[misc]
    with pytest.raises(ValueError):
        settings.cache.ttl_s = 1  # type: ignore[misc]


def test_data_lives_where_the_desktop_standard_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/al"))
    assert load({}).data_dir == Path("/home/al/.local/share/deja")
    assert load({"XDG_DATA_HOME": "/data"}).data_dir == Path("/data/deja")
    assert load({"XDG_DATA_HOME": "/data", "DEJA_DATA_DIR": "/d"}).data_dir == Path("/d")


def test_artifacts_live_in_the_data_directory_unless_named() -> None:
    assert load({"DEJA_DATA_DIR": "/d"}).artifacts == Path("/d/artifacts")
    assert load({"DEJA_DATA_DIR": "/d", "DEJA_ARTIFACTS_DIR": "/a"}).artifacts == Path("/a")
