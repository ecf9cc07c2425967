"""The key of the tenant hash: given, or made once and kept in the data directory."""

from __future__ import annotations

import contextlib
import os
import secrets

from proxy.errors import ConfigError
from proxy.settings import Settings


def tenant_secret(settings: Settings) -> bytes:
    """The key of the tenant hash: the setting's, else one made once and kept in the data directory, readable by its owner alone.

    Raises:
        ConfigError: the data directory cannot be written.
    """
    if settings.secret is not None:
        return settings.secret.get_secret_value().encode()
    path = settings.data_dir / "secret"
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            draft = settings.data_dir / f".secret-{os.getpid()}-{secrets.token_hex(4)}"
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32))
            try:
                os.link(draft, path)  # fails where another process was first, and never shows a half-written file
            finally:
                draft.unlink()
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"The data directory {settings.data_dir} cannot be used ({error.strerror}); make it writable or set DEJA_DATA_DIR."
        ) from error
