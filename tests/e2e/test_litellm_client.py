"""LiteLLM's client, unmodified, with Deja as its base URL: whole, streamed, embeddings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid

from tests.deja_process import DejaProcess
from tests.fake_upstream import FakeUpstream, chat

ASKING = """
import json, sys
import litellm

base_url, key = sys.argv[1:]
told = []
for is_stream in (False, True, False):
    answer = litellm.completion(
        model="openai/gpt-4o-mini", api_base=base_url, api_key=key, stream=is_stream,
        messages=[{"role": "user", "content": "How do I sort a list in Python?"}],
    )
    if is_stream:
        told.append("".join(chunk.choices[0].delta.content or "" for chunk in answer))
    else:
        headers = answer._response_headers or answer._hidden_params["additional_headers"]
        told.append([answer.choices[0].message.content, {name.lower(): value for name, value in headers.items()}])
print(json.dumps(told))
"""


def test_its_completions_are_answered_whole_and_streamed(deja: DejaProcess, upstream: FakeUpstream) -> None:
    upstream.script(chat("With sorted()."))
    # In a process of its own: importing LiteLLM warns of things that are not ours.
    environment = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    command = [sys.executable, "-W", "ignore", "-c", ASKING, deja.base_url, f"sk-{uuid.uuid4().hex}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (first, _), streamed, (last, headers) = json.loads(done.stdout.splitlines()[-1])
    assert first == streamed == last == "With sorted()."
    status = next(value for name, value in headers.items() if name.endswith("cache-status"))
    assert "hit; detail=exact" in status
    assert len(upstream.requests) == 1
