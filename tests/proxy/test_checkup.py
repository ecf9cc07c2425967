"""`deja doctor`: what it says by itself; the parts it asks have their own tests."""

from __future__ import annotations

import base64

from proxy.checkup import examine_encryption
from proxy.services.doctor import Status
from proxy.settings import Settings


def test_it_says_what_is_encrypted_and_what_cannot_be() -> None:
    key = base64.b64encode(b"k" * 32).decode()
    on = examine_encryption(Settings.model_validate({"cache": {"encryption_keys": key}}))
    assert on.status is Status.OK
    for words in ("recordings", "In the clear", "vectors of questions", "long-term memories"):
        assert words in on.what
    assert key not in on.what
    assert examine_encryption(Settings()).what.startswith("Off:")
