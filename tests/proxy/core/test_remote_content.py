from __future__ import annotations

from typing import Any

import pytest

from proxy.core.remote_content import address_in

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def found(*parts: Any) -> str | None:
    return address_in(
        [{"role": "system", "content": "See https://example.org."}, {"role": "user", "content": list(parts)}]
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://example.org/cat.png",
        "HTTP://localhost:6379",
        " http://10.0.0.1/",
        "\nhttp://10.0.0.1/",
        "file:///etc/passwd",
        "gs://bucket/object",
        "s3://bucket/object",
        "http:10.0.0.1",
    ],
)
@pytest.mark.parametrize("form", ["nested", "flat", "file", "audio", "unknown"])
def test_an_address_is_found_wherever_a_part_names_it(url: str, form: str) -> None:
    part: dict[str, Any] = {
        "nested": {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
        "flat": {"type": "image_url", "image_url": url},
        "file": {"type": "file", "file": {"file_id": url}},
        "audio": {"type": "input_audio", "input_audio": {"data": url, "format": "wav"}},
        "unknown": {"type": "hologram", "hologram": {"frames": [{"at": url}]}},
    }[form]
    assert found({"type": "text", "text": "Look:"}, part) == "messages[1].content[1]"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "What is at http://169.254.169.254/?"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_id": "file-abc123"}},
        "no part at all",
    ],
)
def test_what_is_there_needs_no_fetching(part: Any) -> None:
    assert found(part) is None


@pytest.mark.parametrize(
    "messages", [None, "x", [1], [{"role": "user"}], [{"content": None}], [{"content": "http://x"}]]
)
def test_messages_of_another_shape_name_nothing(messages: Any) -> None:
    assert address_in(messages) is None


URL = "http://169.254.169.254/"


@pytest.mark.parametrize(
    ("item", "where"),
    [
        ({"role": "user", "content": [{"type": "input_image", "image_url": URL}]}, "input[0].content[0]"),
        ({"role": "user", "content": [{"type": "input_file", "file_url": URL}]}, "input[0].content[0]"),
        ({"type": "input_image", "image_url": URL}, "input[0]"),
        (
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": URL}]},
            "input[0].output[0]",
        ),
        ({"type": "computer_call_output", "output": {"type": "screenshot", "image_url": URL}}, "input[0].output"),
        # what claims to be a tool call is looked at all the same
        (
            {"type": "function_call", "role": "user", "content": [{"type": "tool_use", "image_url": URL}]},
            "input[0].content[0]",
        ),
        (
            {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": URL}}]},
            "input[0].content[0]",
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": URL}}]}
                ],
            },
            "input[0].content[0]",
        ),
    ],
)
def test_items_and_blocks_of_other_apis_are_looked_into(item: dict[str, Any], where: str) -> None:
    assert address_in([item], "input") == where


@pytest.mark.parametrize(
    "item",
    [
        {"type": "function_call", "call_id": "c", "name": "open", "arguments": URL},
        {"type": "custom_tool_call", "call_id": "c", "name": "open", "input": URL},
        {"type": "web_search_call", "id": "ws_1", "action": {"type": "open_page", "url": URL}},
        {"type": "function_call_output", "call_id": "c", "output": URL},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": URL}], "encrypted_content": "gAAAA"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "open", "input": {"url": URL}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": URL}]},
    ],
)
def test_what_a_tool_was_given_and_what_it_said_is_data(item: dict[str, Any]) -> None:
    assert address_in([item], "input") is None
