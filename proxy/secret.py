"""Secrets that are made once and kept in the data directory, readable by its owner alone: key of the tenant hash, local admin key."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from proxy.errors import ConfigError
from proxy.settings import Settings

ADMIN_KEY_FILE = "admin-key"
"""In the data directory: whoever can read it administers the Deja that runs there. Delete it, and the next start makes another."""


def tenant_secret(settings: Settings) -> bytes:
    """The key of the tenant hash: the setting's, else one made once and kept.

    Raises:
        ConfigError: the data directory cannot be written.
    """
    if settings.secret is not None:
        return settings.secret.get_secret_value().encode()
    try:
        return _kept(settings.data_dir, "secret")
    except OSError as error:
        raise ConfigError(
            f"The data directory {settings.data_dir} cannot be used ({error.strerror}); make it writable or set DEJA_DATA_DIR."
        ) from error


def local_admin_key(settings: Settings) -> bytes | None:
    """The key with which the owner of the data directory administers, made once and kept; None where it cannot be written."""
    try:
        return _kept(settings.data_dir, ADMIN_KEY_FILE, prefix="dk_local_")
    except OSError:
        return None


def read_local_admin_key(settings: Settings) -> str | None:
    """The same, for a command on the same machine; None where there is none to read."""
    try:
        return (settings.data_dir / ADMIN_KEY_FILE).read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _kept(folder: Path, name: str, *, prefix: str = "") -> bytes:
    path = folder / name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileExistsError):
        draft = folder / f".{name}-{os.getpid()}-{secrets.token_hex(4)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(prefix + secrets.token_hex(32))
        try:
            os.link(draft, path)  # fails where another process was first, and never shows a half-written file
        finally:
            draft.unlink()
    return path.read_bytes()
