"""Every setting, its default and its check.

A setting comes from the environment (`DEJA_CACHE__TTL_S`), else from `deja.yaml` (`cache: {ttl_s: …}`), else from the
default in its section (`serving`, `agents`). A wrong one stops the start with a sentence that names it. Secrets are `SecretStr`, so that no
repr shows them.
"""

from proxy.settings.all import Settings
from proxy.settings.loading import environment_names, load
from proxy.settings.section import ADMIN_KEY, CLIENT_KEY, EMBEDDED_URL

__all__ = ["ADMIN_KEY", "CLIENT_KEY", "EMBEDDED_URL", "Settings", "environment_names", "load"]
