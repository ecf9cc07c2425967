"""Who shares stored answers: each tenant keeps its own unless an admin says otherwise for a namespace.

Only the place of entries changes. Decisions, sessions, states, tasks and memories stay their tenant's, whatever is shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from proxy.core.access.callers import Caller
from proxy.core.keys import digest


class Sharing(StrEnum):
    """Whose entries a namespace holds."""

    KEY = "key"
    """Each tenant's its own."""
    TEAM = "team"
    """All keys' of a team together; a key without a team keeps to itself."""
    GLOBAL = "global"
    """All keys' that Deja knows together; a caller without one keeps to itself."""


def space_of(caller: Caller, namespace: str, levels: Mapping[str, Sharing]) -> tuple[str, Sharing]:
    """What stands for the tenant in the place of entries, and how far they are shared in truth.

    A caller whom Deja does not know shares nothing: its credential may be one that the provider would refuse.

    Args:
        caller: who asks.
        namespace: as it named it.
        levels: what admins decided, by namespace.
    """
    level = levels.get(namespace, Sharing.KEY) if levels else Sharing.KEY
    if level is Sharing.TEAM and caller.team is not None:
        return digest("team-space", caller.team), level
    if level is Sharing.GLOBAL and caller.is_known:
        return digest("global-space"), level
    return caller.tenant, Sharing.KEY
