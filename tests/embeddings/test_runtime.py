"""onnxruntime keeps to itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_running_the_model_leaves_nothing_in_the_users_home(artifacts_dir: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from embeddings.prepare import open_embedder\n"
        "open_embedder('package', Path(sys.argv[1])).embed(['Who is told?'])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    subprocess.run(
        [sys.executable, "-c", program, str(artifacts_dir.resolve())],
        env=environment | {"HOME": str(tmp_path)},
        cwd=Path(__file__).parent.parent.parent,
        check=True,
        timeout=60,
    )
    assert list(tmp_path.rglob("*")) == []
