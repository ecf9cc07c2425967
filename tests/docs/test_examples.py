"""The Python examples of the documentation run, and print what the pages say."""

from __future__ import annotations

import multiprocessing
import os
import re
from pathlib import Path

import pytest

from tests.deja_process import running_deja
from tests.docs.pages import PAGES

EXAMPLE = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
VARYING = ((r"ent_[0-9a-f]{32}", "ent_…"), (r"emb_[0-9a-f]{32}", "emb_…"), (r"ttl=\d+", "ttl=…"))


def steady(text: str) -> str:
    """Printed text without what differs from run to run."""
    for pattern, stand_in in VARYING:
        text = re.sub(pattern, stand_in, text)
    return text


def run_alone(program: str, printed: str, failed: str) -> None:
    """Run a program as a process's own; what it prints goes to files."""
    for descriptor, path in ((1, printed), (2, failed)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    exec(compile(program, "example", "exec"), {"__name__": "__main__"})


def test_every_python_example_says_what_it_prints() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len(re.findall(r"^```python$", text, flags=re.MULTILINE)) == len(EXAMPLE.findall(text)), page.name


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_python_examples_print_what_the_pages_say(tmp_path: Path) -> None:
    examples = [(page, *found) for page in PAGES for found in EXAMPLE.findall(page.read_text(encoding="utf-8"))]
    assert len(examples) >= 6
    # Each runs in a process of its own, forked from one that has imported what most of them begin with: half of their time.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["httpx", "openai"])
    printed, failed = tmp_path / "printed", tmp_path / "failed"
    with running_deja() as deja:
        for number, (page, source, expected) in enumerate(examples):
            program = source.replace("127.0.0.1:8080", f"127.0.0.1:{deja.port}")  # as http and as ws
            program = program.replace(".deja/redis/redis.sock", str(deja.data_dir / "redis" / "redis.sock"))
            for form in ('"any"', "Bearer any"):  # each example is a tenant of its own
                program = program.replace(form, form.replace("any", f"any-{number}"))
            process = context.Process(target=run_alone, args=(program, str(printed), str(failed)))
            process.start()
            process.join(60)
            assert process.exitcode == 0, f"{page.name}:\n{failed.read_text()}"
            assert steady(printed.read_text()) == steady(expected), page.name
