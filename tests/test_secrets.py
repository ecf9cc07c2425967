"""Nothing in the repository looks like a key: the patterns of detect-secrets over every tracked file.

Patterns alone. Its measure of entropy takes every digest of the locked requirements for a key, and 46 seconds for it.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.jwt import JwtTokenDetector
from detect_secrets.plugins.openai import OpenAIDetector
from detect_secrets.plugins.private_key import PrivateKeyDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.stripe import StripeDetector

REPOSITORY = Path(__file__).resolve().parent.parent
DETECTORS = (
    *(
        AWSKeyDetector,
        AzureStorageKeyDetector,
        GitHubTokenDetector,
        GitLabTokenDetector,
        JwtTokenDetector,
        OpenAIDetector,
    ),
    *(PrivateKeyDetector, PypiTokenDetector, SendGridDetector, SlackDetector, StripeDetector),
)
PATTERNS = [pattern for detector in DETECTORS for pattern in detector.denylist]
PATTERNS += [re.compile(r"sk-ant-[\w-]{20,}"), re.compile(r"AIza[\w-]{35}"), re.compile(r"\bhf_[A-Za-z0-9]{30,}")]
"""Anthropic's, Google's and Hugging Face's, which detect-secrets does not know."""


def found_in(text: str) -> list[str]:
    return [pattern.pattern for pattern in PATTERNS if pattern.search(text)]


def test_no_tracked_file_holds_a_key() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("no git checkout")
    files = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    texts = [path for path in files if path.is_file() and path.suffix not in (".onnx", ".png", ".npz")]
    found = {path: found_in(path.read_text(encoding="utf-8", errors="replace")) for path in texts}
    suspicious = {str(path.relative_to(REPOSITORY)): patterns for path, patterns in found.items() if patterns}
    assert not suspicious


@pytest.mark.parametrize(
    "key",
    [
        "AKIA" + "ABCDEFGHIJKLMNOP",
        "ghp_" + "a1" * 18,
        "-----BEGIN RSA " + "PRIVATE KEY-----",
        "sk-ant-" + "api03-" + "x" * 24,
        "sk-" + "A" * 20 + "T3BlbkFJ" + "B" * 20,
    ],
)
def test_a_key_would_be_found(key: str) -> None:
    assert found_in(f"api_key = {key!r}")
