"""What the load asks."""

from __future__ import annotations

from embeddings.training import authored_groups


def test_no_file_of_turns_is_asked_without_its_conversation() -> None:
    fields = {group.field for group in authored_groups.groups()}
    assert set(authored_groups.FOLLOW_UPS) == {
        field for field in fields if field.startswith("turns") or "followups" in field
    }
