"""A private Redis of Deja's own: found, made runnable, started, watched, restarted and stopped.

    files.py       which binaries to run and what they need beside them (`ensure_binaries`)
    openssl11.py   the OpenSSL 1.1 libraries, for systems that no longer carry them
    ownership.py   one owner per directory, across kill -9
    layout.py      where everything lies; the server's configuration
    server.py      `EmbeddedRedis`: the process and the thread that watches it
    launch.py      the few lines that run in the child just before it becomes redis-server

It speaks to the server only to ask whether it answers; clients are `proxy.stores.client`'s business.
"""

from proxy.stores.embedded.files import ServerFiles, ensure_binaries
from proxy.stores.embedded.server import EmbeddedRedis, running_url

__all__ = ["EmbeddedRedis", "ServerFiles", "ensure_binaries", "running_url"]
