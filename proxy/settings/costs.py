"""Section of the settings for what calls cost."""

from __future__ import annotations

from pydantic import Field

from proxy.settings.section import Section


class LedgerSettings(Section):
    """The ledger of what calls cost and what the cache saved."""

    keep_days: int = Field(400, ge=2, le=4000, description="Days that a day's counts are kept.")
