"""Bodies: what is converted, and what is refused instead."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.api import agents, event_groups, events, sessions, tasks
from proxy.api.bodies import Body, checked
from proxy.errors import RequestError


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (events.Trim, {"max_age_s": False}),  # as 0 it would remove every event
        (events.Trim, {"max_events": "0"}),
        (events.Policy, {"max_events": True}),
        (sessions.Wishes, {"ttl_s": True}),
        (agents.Heartbeat, {"ttl_s": "60"}),
        (event_groups.Read, {"consumer": "c", "recover": "yes"}),
        (tasks.Configuration, {"retention_s": True}),
    ],
)
def test_how_much_goes_or_lives_is_never_made_of_another_type(model: type[Body], body: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="cannot be used") as caught:
        checked(model, body)
    assert caught.value.param == list(body)[-1]
