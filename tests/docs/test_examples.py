"""The Python examples of the documentation run, and print what the pages say."""

from __future__ import annotations

import re
import subprocess
import sys

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


def test_every_python_example_says_what_it_prints() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len(re.findall(r"^```python$", text, flags=re.MULTILINE)) == len(EXAMPLE.findall(text)), page.name


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_python_examples_print_what_the_pages_say() -> None:
    examples = [(page, *found) for page in PAGES for found in EXAMPLE.findall(page.read_text(encoding="utf-8"))]
    assert len(examples) >= 6
    with running_deja() as deja:
        for number, (page, source, printed) in enumerate(examples):
            program = source.replace("127.0.0.1:8080", f"127.0.0.1:{deja.port}")  # as http and as ws
            program = program.replace(".deja/redis/redis.sock", str(deja.data_dir / "redis" / "redis.sock"))
            for form in ('"any"', "Bearer any"):  # each example is a tenant of its own
                program = program.replace(form, form.replace("any", f"any-{number}"))
            run = subprocess.run(
                [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
            )
            assert run.returncode == 0, f"{page.name}:\n{run.stderr}"
            assert steady(run.stdout) == steady(printed), page.name
