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
