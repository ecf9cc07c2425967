from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ConfigError
from proxy.stores.urls import SCHEMES, Target, parse, redact


@pytest.mark.parametrize(
    ("url", "target"),
    [
        pytest.param("redis://cache", Target(hosts=(("cache", 6379),)), id="default port"),
        pytest.param("redis://10.0.0.7:7000/0", Target(hosts=(("10.0.0.7", 7000),)), id="database zero"),
        pytest.param("redis://[::1]:7000", Target(hosts=(("::1", 7000),)), id="ipv6"),
        pytest.param(
            "redis://deja:p%40ss@cache",
            Target(hosts=(("cache", 6379),), username="deja", password="p@ss"),
            id="acl user, escaped password",
        ),
        pytest.param("redis://:pw@cache", Target(hosts=(("cache", 6379),), password="pw"), id="password alone"),
        pytest.param("unix:///run/redis.sock", Target(path="/run/redis.sock"), id="unix socket"),
        pytest.param(
            "unix://deja:pw@/run/a%20b.sock",
            Target(path="/run/a b.sock", username="deja", password="pw"),
            id="unix socket with user",
        ),
        pytest.param(
            "rediss://cache:6380?ssl_ca_certs=/etc/ca.pem&ssl_check_hostname=false",
            Target(
                hosts=(("cache", 6380),),
                tls=True,
                options={"ssl_ca_certs": "/etc/ca.pem", "ssl_check_hostname": "false"},
            ),
            id="tls",
        ),
        pytest.param(
            "redis+sentinel://u:p@s1,s2:27000,[::1]/mymaster/0?sentinel_password=sp",
            Target(
                hosts=(("s1", 26379), ("s2", 27000), ("::1", 26379)),
                service="mymaster",
                username="u",
                password="p",
                options={"sentinel_password": "sp"},
            ),
            id="sentinel",
        ),
        pytest.param(
            "rediss+sentinel://s1/main",
            Target(hosts=(("s1", 26379),), service="main", tls=True),
            id="sentinel with tls",
        ),
    ],
)
def test_a_url_is_read_as_its_parts(url: str, target: Target) -> None:
    assert parse(url) == target


@pytest.mark.parametrize(
    ("url", "because"),
    [
        ("http://cache", "must begin with"),
        ("cache:6379", "must begin with"),
        ("", "must begin with"),
        ("redis://", "host:port"),
        ("redis://cache:99999", "host:port"),
        ("redis://cache:0", "host:port"),
        ("redis://cache:port", "host:port"),
        ("redis://::1", "square brackets"),
        ("redis://cache/3", "database 0"),
        ("redis://cache?db=3", "database 0"),
        ("redis://[::1", "square brackets"),
        ("redis://a,b", "several hosts"),
        ("redis://secret@cache", "without a colon"),
        ("redis://cache?decode_responses=true", "decode_responses"),
        ("redis://cache?ssl_ca_certs=x", "ssl_ca_certs"),
        ("rediss://cache?ssl_cert_reqs=maybe", "required or none"),
        ("redis+sentinel://s1:26379", "service"),
        ("unix://relative.sock", "absolute path"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_the_reason(url: str, because: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(url)
    assert because in str(refused.value)
    assert "DEJA_REDIS__URL" in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://cache:6379/0", "redis://cache:6379/0"),
        ("unix:///run/a@b.sock", "unix:///run/a@b.sock"),
        ("redis://u:hunter2@cache", "redis://***@cache"),
        ("redis://:hunt/er@2@cache", "redis://***@cache"),
        (
            "redis+sentinel://u:hunter2@s1,s2/m?sentinel_password=hunter2",
            "redis+sentinel://***@s1,s2/m?sentinel_password=***",
        ),
        ("rediss://cache?ssl_ca_certs=/ca.pem", "rediss://cache?ssl_ca_certs=/ca.pem"),
        ("u:hunter2@cache", "***"),
    ],
)
def test_what_is_shown_of_a_url_holds_no_secret(url: str, shown: str) -> None:
    assert redact(url) == shown


@given(password=st.text(min_size=4, alphabet=st.characters(codec="utf-8")))
def test_no_password_survives_redaction_however_badly_escaped(password: str) -> None:
    assert redact(f"redis://user:{password}@h:1") in ("redis://***@h:1", "redis://***")


@given(url=st.text() | st.builds("{}://{}".format, st.sampled_from(SCHEMES), st.text()))
def test_any_text_is_either_read_or_refused_with_a_sentence(url: str) -> None:
    assert (refusal(url) or "fine.").endswith(".")


def refusal(url: str) -> str | None:
    try:
        parse(url)
    except ConfigError as error:
        return str(error)
    return None
