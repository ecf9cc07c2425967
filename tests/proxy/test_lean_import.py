"""A worker carries no command line but its own."""

from __future__ import annotations

import subprocess
import sys


def test_httpx_brings_no_command_line_along() -> None:
    code = "import sys, proxy.worker.worker, httpx; sys.exit(bool({'rich', 'pygments', 'click'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
