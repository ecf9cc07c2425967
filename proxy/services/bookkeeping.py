"""What becomes of a request, told to the ledger: who called and what that used, who was spared a call, what Deja itself asked for.

A call is the account of whoever led it, told where it is made; what it spared others is told where these are answered. So calls whose
caller has left are in the ledger, too, and a request that got no answer saves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from proxy.core.answers import Answer
from proxy.core.ledger import Purpose, Saving
from proxy.core.models import HitKind
from proxy.core.prices import Tariff
from proxy.core.usage import Usage, usage_of
from proxy.ports import UpstreamRoute
from proxy.services.calls import Decision
from proxy.services.embedding_calls import EmbeddingDecision
from proxy.services.ledger import Account, shared

_KINDS = {HitKind.EXACT: Saving.EXACT, HitKind.SEMANTIC: Saving.SEMANTIC}
_OWN = {"answer": Purpose.AUDIT, "judge": Purpose.AUDIT}
"""What audits ask for; everything else that is asked in the background is memory's."""


class Notes(Protocol):
    """The part of `services.ledger` that takes notes."""

    def saved(self, account: Account, kind: Saving, usage: bytes, *, is_estimated: bool, tier: object = None) -> None:
        """A request was answered without a call of its own."""

    def called(self, account: Account, usage: Usage | None, *, is_estimated: bool = False) -> None:
        """A provider answered."""

    def failed(self, account: Account, *, is_begun: bool = False) -> None:
        """A provider did not answer."""

    def paid(self, account: Account, purpose: Purpose, usage: Usage | None) -> None:
        """Deja made a call of its own."""


class Hits(Protocol):
    """The part of `services.worth` that takes notes."""

    def served(self, entry_id: str, *, usage: bytes | int, tariff: Tariff | None, size_bytes: int) -> None:
        """An entry served a request."""


class Books:
    """Keeps the books of completions.

    Args:
        ledger: takes the notes.
        hits: told which entries earned something, for what is to be kept of them; None where nobody asks.
    """

    def __init__(self, ledger: Notes, hits: Hits | None = None) -> None:
        self._ledger = ledger
        self._hits = hits

    def called(
        self, decision: Decision, status: int, answer: Answer | None, *, by: UpstreamRoute | None = None
    ) -> None:
        """A call came to its end; `by` is who answered it, where that is not whom it was meant for."""
        account = _account(decision, by)
        if status >= 400:
            self._ledger.failed(account)
        elif answer is None:
            self._ledger.called(account, None)
        else:
            usage = usage_of(answer.usage, body=answer.body)
            self._ledger.called(account, usage, is_estimated=answer.usage_estimated)

    def failed(self, decision: Decision, *, is_begun: bool) -> None:
        """A call brought no answer; or broke off, or was given up, after its head had arrived."""
        self._ledger.failed(_account(decision, None), is_begun=is_begun)

    def finished(self, decision: Decision, status: int) -> None:
        """A request was answered: note what it saved, if it did."""
        outcome = decision.outcome
        if status != 200 or (outcome.hit is None and not outcome.is_collapsed):
            return
        tier = decision.call.sent.get("service_tier")
        if outcome.hit is not None and outcome.entry is not None:
            entry, kind = outcome.entry, _KINDS[outcome.hit]
            self._note(decision, kind, entry.usage, is_estimated=entry.usage_estimated, tier=tier)
            if self._hits is not None:
                tariff = decision.route.tariff
                self._hits.served(entry.entry_id, usage=entry.usage, tariff=tariff, size_bytes=len(entry.body))
        elif (answer := decision.answer) is not None:
            used = wire_usage(answer)
            self._note(decision, Saving.COLLAPSED, used, is_estimated=answer.usage_estimated, tier=tier)
        else:
            self._note(decision, Saving.COLLAPSED, b"", is_estimated=False, tier=None)

    def embedded(self, decision: EmbeddingDecision, status: int) -> None:
        """A request for embeddings was answered, or not: what the provider counted of it, and what the stored vectors had cost."""
        call = decision.call
        account = Account(call.tenant, call.directives.namespace, decision.route.tariff)
        if "upstream" in decision.outcome.timings_ms:
            if status >= 400:
                self._ledger.failed(account)
            else:
                self._ledger.called(account, None if decision.spent_tokens is None else Usage(decision.spent_tokens))
        served = decision.served
        if served and status == 200:
            usage = Usage(sum(one.tokens for one in served)).to_wire()
            is_estimated = any(one.is_estimated for one in served)
            self._ledger.saved(account, Saving.EXACT, usage, is_estimated=is_estimated)
            if self._hits is not None:
                for one in served:
                    size = len(one.vector.data)
                    self._hits.served(one.entry_id, usage=one.tokens, tariff=account.tariff, size_bytes=size)

    def embedded_text(self, model: str, tokens: int | None) -> None:
        """Deja had texts embedded by a server, of several tenants at once perhaps."""
        self._ledger.paid(shared(Tariff(model)), Purpose.EMBEDDING, None if tokens is None else Usage(tokens))

    def asked(
        self, purpose: str, tenant: str, tariff: Tariff, used: Mapping[str, Any], body: Mapping[str, Any]
    ) -> None:
        """Deja asked a provider for something of its own: an audit's second answer, a verdict, a memory."""
        self._ledger.paid(Account(tenant, "", tariff), _OWN.get(purpose, Purpose.MEMORY), usage_of(used, body=body))

    def _note(self, decision: Decision, kind: Saving, usage: bytes, *, is_estimated: bool, tier: object) -> None:
        tier = tier if isinstance(tier, str) else None  # whatever else stands there cannot be a key
        self._ledger.saved(_account(decision, None), kind, usage, is_estimated=is_estimated, tier=tier)


def wire_usage(answer: Answer) -> bytes:
    """What an answer used, as it is stored with it; b"" where that is not known."""
    usage = usage_of(answer.usage, body=answer.body)
    return b"" if usage is None else usage.to_wire()


def _account(decision: Decision, by: UpstreamRoute | None) -> Account:
    call = decision.call
    return Account(call.tenant, call.directives.namespace, (by or decision.route).tariff)
