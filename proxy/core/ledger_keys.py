"""Redis names of the ledger. The braces are Redis Cluster's hash tag: all of a tenant's share a slot.

deja:v1:usage:{<tenant>}:<day>         hash    counts: a field is a JSON array of model, namespace and line (`core.ledger`)
deja:v1:spent:{<tenant>}:<period>      string  pico-USD spent in a day or a month, for budgets
deja:v1:usage-batch:{<tenant>}:<id>    string  this batch of counts has been added
deja:v1:usage-tenants                  zset    tenants by the unix time of their last counts
"""

from __future__ import annotations

from proxy.core.keys import PREFIX

TENANTS = f"{PREFIX}usage-tenants"


def usage(tenant: str, day: str) -> str:
    """Redis key of a tenant's counts of a day, an ISO date."""
    return f"{PREFIX}usage:{{{tenant}}}:{day}"


def spent(tenant: str, period: str) -> str:
    """Redis key of what a tenant spent in a period: `2026-11-23` or `2026-11`."""
    return f"{PREFIX}spent:{{{tenant}}}:{period}"


def batch(tenant: str, batch_id: str) -> str:
    """Redis key of the marker that a batch was added."""
    return f"{PREFIX}usage-batch:{{{tenant}}}:{batch_id}"
