"""Where the embedded server keeps its things, and the configuration it runs with."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from proxy.errors import ConfigError
from proxy.stores.embedded.files import ServerFiles

SOCKET_PATH_BYTES = 100  # sun_path holds 108 with its NUL on Linux, 104 on the BSDs and macOS

# maxmemory-policy: only keys with a TTL may be evicted (tasks, state and events have none), and among those the
# least *frequently* used: prompts repeat by popularity, so one burst of new ones must not push the popular ones out.
# save "": the append-only file is the only record; an RDB beside it would cost a fork and is never read.
# loading-process-events: while it loads, Redis looks at its clients after so many bytes. It builds the vector index meanwhile, which makes
# its own 2 MiB a second of silence; after 64 KiB it has said LOADING within 12 ms (p50, 15,000 entries).
# DEBUG and MODULE stay off: whoever reaches the socket must not be able to load code.
CONFIGURATION = """\
port 0
unixsocket "{socket}"
unixsocketperm 700
protected-mode yes
daemonize no
supervised no
dir "{folder}"
logfile "{log}"
loglevel notice
databases 16
save ""
appendonly yes
appendfsync everysec
aof-load-truncated yes
loading-process-events-interval-bytes 65536
aof-use-rdb-preamble yes
maxmemory {max_memory_bytes}
maxmemory-policy volatile-lfu
lazyfree-lazy-eviction yes
lazyfree-lazy-expire yes
enable-debug-command no
enable-module-command no
always-show-logo no
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """Absolute paths of one embedded server, all private to this user.

    Attributes:
        folder: `<data_dir>/redis`, mode 0700: append-only file, log, configuration, lock.
        socket: the Unix socket; elsewhere only where the path below `folder` would be too long for one.
    """

    folder: Path
    socket: Path

    @property
    def configuration(self) -> Path:
        """The server's configuration file, written anew at each start."""
        return self.folder / "redis.conf"

    @property
    def log(self) -> Path:
        """What the server says; appended to."""
        return self.folder / "redis.log"

    @property
    def lock(self) -> Path:
        """The file whose lock makes one owner per directory."""
        return self.folder / "owner.lock"


def lay_out(data_dir: Path) -> Layout:
    """Create the private folders below `data_dir` and choose the socket's place.

    Raises:
        ConfigError: a folder cannot be made, or is not ours alone.
    """
    folder = data_dir.resolve() / "redis"
    if any(character in str(folder) for character in '"\n\\'):
        raise ConfigError(f"DEJA_DATA_DIR {data_dir} holds a quote, backslash or line break: choose a plainer path.")
    _private(folder)
    socket = folder / "redis.sock"
    if len(os.fsencode(socket)) > SOCKET_PATH_BYTES:
        name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        place = Path(tempfile.gettempdir())
        if len(os.fsencode(place)) > SOCKET_PATH_BYTES // 2:
            place = Path("/tmp")  # noqa: S108  the folder made in it is private and checked
        socket = place / f"deja-{os.getuid()}-{name}" / "redis.sock"
        _private(socket.parent)
    return Layout(folder, socket)


def write_configuration(layout: Layout, files: ServerFiles, max_memory_bytes: int) -> None:
    """Write the configuration the server is to read."""
    text = CONFIGURATION.format(
        socket=layout.socket, folder=layout.folder, log=layout.log, max_memory_bytes=max_memory_bytes
    )
    text += "".join(f'loadmodule "{module}"\n' for module in files.modules)
    layout.configuration.write_text(text)


def _private(folder: Path) -> None:
    """Make `folder` with mode 0700, or see that it is ours: in a temp folder another user may have been first."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
            raise ConfigError(f"{folder} belongs to someone else: remove it or choose another DEJA_DATA_DIR.")
        folder.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"Cannot use {folder} ({error.strerror}): choose another DEJA_DATA_DIR.") from error
