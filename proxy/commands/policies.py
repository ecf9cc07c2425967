"""`deja cache policy`: what a tenant decided for its namespaces in a running Deja."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from proxy.commands import asking
from proxy.commands.asking import AskingError


def decide(
    root: str, namespace: str | None, decided: Mapping[str, Any], *, is_removal: bool, api_key: str | None
) -> str:
    """Decide for a namespace, or show what is decided for all. Raises AskingError."""
    wanted = {name: value for name, value in decided.items() if value is not None}
    if namespace is None:
        if wanted or is_removal:
            raise AskingError("Name the namespace; '-' is the one without a name.")
        found = asking.get(root, "cache/policies", api_key=api_key)["data"]
        return "\n".join(map(_row, found)) or "Nothing is decided for any namespace."
    path = f"cache/policies/{quote(namespace, safe='')}"
    if is_removal:
        asking.send("DELETE", root, path, None, api_key=api_key)
        return "Nothing is decided any more."
    if not wanted:
        return _row(asking.get(root, path, api_key=api_key))
    return _row(asking.send("PUT", root, path, wanted, api_key=api_key))


def _row(policy: Mapping[str, Any]) -> str:
    decided = [f"{name}={_shown(value)}" for name, value in policy.items() if name not in ("object", "namespace")]
    return "  ".join((policy["namespace"] or "-", *decided))


def _shown(value: object) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)
