"""States and how things are told."""

from __future__ import annotations

import pytest

from proxy.core.coordination.tasks import (
    CONFIG_FIELDS,
    ENDED,
    NEXT,
    Durability,
    QueueConfig,
    TaskState,
    config_fields,
    refused,
    shown_dead,
    shown_queue,
    shown_task,
    shown_update,
)

RECORD = {
    "id": "task_1",
    "state": "working",
    "priority": "5",
    "attempt": "1",
    "max_attempts": "3",
    "payload": '{"a":1}',
    "worker": "w",
    "lease": "lease_secret",
    "lease_until": "1795363252.301",
    "submitted_at": "1795363192.172",
    "reason": "",
    "deadline_at": "",
}


def test_the_states_are_those_of_a2a() -> None:
    assert {state.value for state in TaskState} == {
        *("submitted", "working", "input-required", "auth-required"),
        *("completed", "failed", "canceled", "rejected"),
    }
    assert set(NEXT) == set(TaskState)


def test_ends_are_ends_but_for_the_dead_letter() -> None:
    assert {state for state in TaskState if not NEXT[state]} == ENDED - {TaskState.FAILED}
    assert NEXT[TaskState.FAILED] == {TaskState.SUBMITTED}


def test_whatever_has_not_ended_can_be_canceled_and_be_late() -> None:
    for state in set(TaskState) - ENDED:
        assert NEXT[state] >= {TaskState.CANCELED, TaskState.FAILED}


def test_work_is_done_by_who_works() -> None:
    for end in (TaskState.COMPLETED, TaskState.REJECTED):
        assert [state for state in TaskState if end in NEXT[state]] == [TaskState.WORKING]


def test_the_lease_is_shown_to_its_holder_alone() -> None:
    assert shown_task("q", RECORD, with_lease=True)["lease"] == "lease_secret"
    assert "lease_secret" not in str(shown_task("q", RECORD))
    assert "lease_secret" not in str(shown_task("q", RECORD, is_brief=True))


def test_a_list_leaves_out_what_may_be_long() -> None:
    whole, brief = shown_task("q", RECORD), shown_task("q", RECORD, is_brief=True)
    assert set(whole) - set(brief) == {"payload", "result", "error", "message", "input"}
    assert whole["payload"] == {"a": 1}
    assert (whole["reason"], whole["deadline_at"], whole["submitted_at"]) == (None, None, 1795363192.172)


def test_updates_and_letters_are_told() -> None:
    update = {
        "task": "t",
        "from": "",
        "state": "submitted",
        "attempt": "0",
        "worker": "",
        "reason": "submitted",
        "at": "1.5",
    }
    assert shown_update("q", update) == {
        "id": "t",
        "object": "task.update",
        "queue": "q",
        "from": None,
        "state": "submitted",
        "attempt": 0,
        "worker": None,
        "reason": "submitted",
        "at": 1.5,
    }
    letter = {"task": "t", "reason": "lease-expired", "attempts": "3", "error": "", "at": "1.5"}
    assert shown_dead("1-0", letter)["error"] is None


def test_a_configuration_is_written_and_read_alike() -> None:
    config = QueueConfig(Durability.FSYNC, 5, 0.25, 1.0, 300.0, 604_800.0)
    fields = config.fields() | {"created_at": "1.000", "changed_at": "2.000"}
    shown = shown_queue("q", fields)
    assert {name: shown[name] for name in CONFIG_FIELDS} == {name: getattr(config, name) for name in CONFIG_FIELDS}
    assert config_fields({"lease_s": 30.0, "durability": None}) == {"lease_s": "30"}


@pytest.mark.parametrize(("code", "status"), [("queue_not_found", 404), ("lease_lost", 409), ("task_exists", 409)])
def test_a_refusal_has_a_status_and_says_how_to_go_on(code: str, status: int) -> None:
    error = refused(code, param="queue")
    assert (error.status, error.code, error.param) == (status, code, "queue")
    assert ":" in error.message
