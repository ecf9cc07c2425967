from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import ConfigError
from proxy.upstream.deployments import OPENAI_BASE_URL, Deployment, parse_model_list

ENVIRON = {"MY_KEY": "sk-mine", "OPENAI_API_KEY": "sk-openai", "MY_BASE": "https://mine.example/v1"}


def one(name: str = "alias", **params: Any) -> Deployment:
    (deployment,) = parse_model_list([{"model_name": name, "litellm_params": params}], ENVIRON)
    return deployment


@pytest.mark.parametrize(
    ("params", "model"),
    [
        ({"model": "openai/gpt-4o"}, "gpt-4o"),
        ({"model": "gpt-4o-mini"}, "gpt-4o-mini"),
        ({"model": "ft:gpt-4o:org::id"}, "ft:gpt-4o:org::id"),
        ({"model": "hosted_vllm/meta/llama", "api_base": "http://gpu:8000/v1"}, "meta/llama"),
        ({"model": "custom_openai/m", "api_base": "http://gpu:8000/v1"}, "m"),
        ({"model": "text-completion-openai/davinci"}, "davinci"),
        ({"model": "meta/llama", "custom_llm_provider": "openai", "base_url": "http://gpu:8000/v1"}, "meta/llama"),
        ({"model": "openai/m", "rpm": 10, "weight": 2, "max_retries": 3, "input_cost_per_token": 1e-6}, "m"),
    ],
    ids=lambda value: str(value["model"]) if isinstance(value, dict) else "",
)
def test_an_openai_compatible_provider_is_called_over_http_with_the_bare_name(
    params: dict[str, Any], model: str
) -> None:
    deployment = one(**params)
    assert deployment.target is not None
    assert deployment.model == model


@pytest.mark.parametrize(
    "params",
    [
        {"model": "anthropic/claude-3-haiku-20240307"},
        {"model": "azure/my-deployment", "api_base": "https://a.example", "api_version": "2024-02-01"},
        {"model": "ollama/llama3", "api_base": "http://127.0.0.1:11434"},
        {"model": "claude-3-haiku-20240307"},
        {"model": "openai/gpt-4o", "drop_params": True},
    ],
    ids=lambda params: params["model"],
)
def test_anything_else_goes_through_litellm_with_its_own_name_and_parameters(params: dict[str, Any]) -> None:
    deployment = one(**params)
    assert deployment.target is None
    assert {"model": deployment.model, **deployment.params} == params


def test_environment_names_are_resolved_wherever_they_stand() -> None:
    target = one(model="openai/m", api_base="os.environ/MY_BASE", api_key="os.environ/MY_KEY").target
    assert target is not None
    assert (target.base_url, target.api_key) == ("https://mine.example/v1", "sk-mine")
    nested = one(model="bedrock/m", options={"keys": ["os.environ/MY_KEY"]})
    assert nested.params["options"] == {"keys": ["sk-mine"]}


def test_openais_own_key_goes_to_openai_alone() -> None:
    own, other = one(model="openai/m").target, one(model="openai/m", api_base="http://gpu:8000/v1").target
    assert own is not None
    assert other is not None
    assert (own.base_url, own.api_key) == (OPENAI_BASE_URL, "sk-openai")
    assert other.api_key is None


def test_organisation_headers_and_timeout_are_taken_over() -> None:
    target = one(model="openai/m", organization="org-1", extra_headers={"OpenAI-Beta": "x=1"}, timeout="2.5").target
    assert target is not None
    assert target.headers == ((b"openai-beta", b"x=1"), (b"openai-organization", b"org-1"))
    assert target.timeout_s == 2.5


def test_a_key_is_in_no_representation() -> None:
    assert "sk-" not in repr([one(model="openai/m", api_key="sk-a"), one(model="anthropic/m", api_key="sk-b")])


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ({"model_name": "x"}, "model_list has to be a list"),
        (["gpt-4o"], r"model_list\[0\] has to be a mapping"),
        ([{"litellm_params": {"model": "openai/m"}}], r"model_list\[0\]\.model_name"),
        ([{"model_name": "x"}], r"model_list\[0\]\.litellm_params has to be"),
        ([{"model_name": "x", "litellm_params": {}}], r"model_list\[0\]\.litellm_params\.model is missing"),
        ([{"model_name": "x", "litellm_params": {"model": 5}}], r"litellm_params\.model"),
        (
            [{"model_name": "x", "litellm_params": {"model": "openai/m", "api_key": "os.environ/ABSENT"}}],
            r"litellm_params\.api_key asks for the environment variable ABSENT",
        ),
        ([{"model_name": "x", "litellm_params": {"model": "hosted_vllm/m"}}], r"litellm_params\.api_base is missing"),
        ([{"model_name": "x", "litellm_params": {"model": "openai/m", "timeout": "soon"}}], r"litellm_params\.timeout"),
        ([{"model_name": "x", "litellm_params": {"model": "openai/m", "api_key": 5}}], r"litellm_params\.api_key"),
        ([{"model_name": "x", "litellm_params": {"model": "openai/m", "extra_headers": "x"}}], "extra_headers"),
        ([{"model_name": "x", "litellm_params": {"model": "openai/*"}}], r"model holds more '\*'"),
    ],
    ids=range(12),
)
def test_a_wrong_entry_is_named_with_its_field(entries: object, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_model_list(entries, ENVIRON)


def test_the_complaint_counts_entries_from_zero() -> None:
    good = {"model_name": "x", "litellm_params": {"model": "openai/m"}}
    with pytest.raises(ConfigError, match=r"model_list\[2\]"):
        parse_model_list([good, good, {}], ENVIRON)
