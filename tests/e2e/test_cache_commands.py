"""`deja cache …` as a person types it, against a running Deja."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import openai
import pytest
from typer.testing import CliRunner

from proxy.__main__ import app
from tests.deja_process import DejaProcess
from tests.e2e.asking import MODEL, ask
from tests.fake_upstream import FakeUpstream

CAPITAL, CODE = "What is the capital of Peru?", "How do I sort a list in Python?"
Run = Callable[..., str]


@pytest.fixture
def run(deja: DejaProcess, client: openai.OpenAI) -> Run:
    """Runs one command for the client's key, and gives back what it prints."""

    def command(*words: str, status: int = 0) -> str:
        ended = CliRunner().invoke(app, ["cache", *words, "--url", deja.root, "--api-key", client.api_key])
        assert ended.exit_code == status, ended.output
        return ended.output

    return command


def test_entries_are_listed_shown_and_deleted(run: Run, client: openai.OpenAI, upstream: FakeUpstream) -> None:
    assert run("list").strip() == "There are no such entries."
    ask(client, CAPITAL, headers={"X-Deja-Tags": "doc:atlas@7"})
    ask(client, CODE)
    (line,) = run("list", "--tag", "doc:atlas@7").splitlines()
    assert line.startswith("ent_")
    assert "#doc:atlas@7" in line
    assert line.endswith(CAPITAL)
    assert run("list", "--limit", "1").splitlines()[1] == "There may be more: --limit shows more than 1."
    entry_id = line.split()[0]
    assert json.loads(run("show", entry_id))["question"] == CAPITAL
    assert run("delete", entry_id) == f"{entry_id} is removed.\n"
    assert "no entry of this id" in run("show", entry_id, status=1)


def test_invalidating_counts_and_removes_only_when_that_is_sure(
    run: Run, client: openai.OpenAI, upstream: FakeUpstream
) -> None:
    ask(client, CAPITAL, headers={"X-Deja-Tags": "prompt:v3"})
    ask(client, CODE)
    assert "1 entries would be removed" in run("invalidate", "--prompt-version", "v3")
    assert "everything: true" in run("invalidate", status=1)
    assert len(run("list").splitlines()) == 2
    assert run("invalidate", "--prompt-version", "v3", "--yes") == "1 entries are removed.\n"
    assert run("invalidate", "--everything", "--yes") == "1 entries are removed.\n"


def test_a_file_warms_the_cache(run: Run, client: openai.OpenAI, upstream: FakeUpstream, tmp_path: Path) -> None:
    lines = [
        {
            "messages": [{"role": "user", "content": f"What is the name of city number {number}?"}],
            "answer": f"City {number}.",
        }
        for number in range(70)
    ]
    file = tmp_path / "faq.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)) + '\n\n{"messages": [], "answer": "x"}\n')
    told = run("warm", str(file), "--model", MODEL, "--tag", "faq", "--ttl", "600").splitlines()
    assert told[0] == "70 answers are stored."
    assert told[1].startswith("1 not stored: `messages` cannot be used")
    assert ask(client, "What is the name of city number 69?").text == "City 69."
    assert upstream.requests == []
    file.write_text('{"messages": []}\n')
    assert "Line 1 of" in run("warm", str(file), status=1)
    assert "either a FILE, or --session" in run("warm", status=1)


def test_a_recorded_session_warms_the_cache_for_everybody(
    run: Run, client: openai.OpenAI, upstream: FakeUpstream
) -> None:
    first = ask(client, CAPITAL, headers={"X-Deja-Session": "s", "X-Deja-Namespace": "geo"})
    ask(client, CODE, headers={"X-Deja-Session": "s", "Cache-Control": "no-store"})
    run("invalidate", "--everything", "--yes")
    assert run("warm", "--session", "s") == "2 answers are stored.\n"
    again = ask(client, CAPITAL, headers={"X-Deja-Namespace": "geo"})
    assert (again.hit, again.text) == ("exact", first.text)
    assert len(upstream.requests) == 2


def test_entries_go_into_a_file_and_back(
    run: Run, client: openai.OpenAI, upstream: FakeUpstream, tmp_path: Path
) -> None:
    ask(client, CAPITAL)
    file = tmp_path / "entries.jsonl"
    assert run("export", str(file)).startswith("1 entries are in ")
    assert [path.name for path in tmp_path.iterdir()] == ["entries.jsonl"]
    assert "1 were left" in run("import", str(file))
    file.write_bytes(file.read_bytes().replace(b"Peru", b"Chad"))
    assert "1 were refused" in run("import", str(file))


def test_policies_are_decided_shown_and_taken_back(run: Run, client: openai.OpenAI, upstream: FakeUpstream) -> None:
    assert run("policy") == "Nothing is decided for any namespace.\n"
    assert (
        run("policy", "-", "--mode", "exact", "--ttl", "60", "--family", "chat")
        == "-  mode=exact  ttl_s=60  families=chat\n"
    )
    assert run("policy", "-") == run("policy")
    assert "mode-exact" in ask(client, CAPITAL).status
    assert "`mode` cannot be used" in run("policy", "-", "--mode", "fast", status=1)
    assert run("policy", "-", "--remove") == "Nothing is decided any more.\n"
    assert "no policy" in run("policy", "-", status=1)
    assert "Name the namespace" in run("policy", "--ttl", "5", status=1)
