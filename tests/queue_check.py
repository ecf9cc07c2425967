"""What must hold in a queue at any moment, read with plain redis-py: every record, list and stream tells the same."""

from __future__ import annotations

from collections import Counter

import redis

from proxy.core.coordination.keys import QueueKeys
from proxy.core.coordination.tasks import ENDED, NEXT, TaskState

RETURNED = "~returned"


def problems(plain: redis.Redis, queue: QueueKeys) -> list[str]:
    """What does not hold, in words; empty when all is well. `plain` decodes replies."""
    found: list[str] = []
    records = {
        key.removeprefix(queue.key("task:")): plain.hgetall(key)
        for key in plain.scan_iter(f"{queue.key('task:')}*", count=5000)
    }
    states = {state: set(plain.zrange(queue.key(f"state:{state}"), 0, -1)) for state in TaskState}
    listed = Counter(task for tasks in states.values() for task in tasks)
    leases, delayed = set(plain.zrange(queue.key("leases"), 0, -1)), set(plain.zrange(queue.key("delayed"), 0, -1))
    entries, holders = _lanes(plain, queue, found)
    if set(plain.zrange(queue.key("tasks"), 0, -1)) != set(records):
        found.append("`tasks` and the records differ")
    for task, record in records.items():
        state = TaskState(record["state"])
        if listed[task] != 1 or task not in states[state]:
            found.append(f"{task} is {state}, and listed {listed[task]} times")
        is_working = state is TaskState.WORKING
        if (
            (task in leases) != is_working
            or bool(record["lease"]) != is_working
            or bool(record["lease_until"]) != is_working
        ):
            found.append(f"{task} is {state} and its lease says otherwise")
        is_ready = state is TaskState.SUBMITTED and task not in delayed
        if (task in entries) != (is_working or is_ready) or record["entry"] != entries.get(task, ""):
            found.append(
                f"{task} is {state} with the entry {record['entry']!r}, and the stream has {entries.get(task)}"
            )
        if is_working and holders.get(task) != record["worker"]:
            found.append(f"{task} is held by {record['worker']}, and pending with {holders.get(task)}")
        if is_ready and holders.get(task, RETURNED) != RETURNED:
            found.append(f"{task} is ready, and pending with {holders[task]}")
        if task in delayed and state is not TaskState.SUBMITTED:
            found.append(f"{task} is {state} and delayed")
        if (state in ENDED) != bool(record.get("ended_at")):
            found.append(f"{task} is {state} and ended at {record.get('ended_at')!r}")
        if not 0 <= int(record["attempt"]) <= int(record["max_attempts"]):
            found.append(f"{task} has had {record['attempt']} of {record['max_attempts']} attempts")
    for name, tasks in (("leases", leases), ("delayed", delayed), ("states", set(listed)), ("lanes", set(entries))):
        if tasks - set(records):
            found.append(f"{name} names tasks that are not there: {sorted(tasks - set(records))[:3]}")
    dead = {entry: fields["task"] for entry, fields in plain.xrange(queue.key("dead"))}
    if {task: entry for entry, task in dead.items()} != {
        task: record["dead"] for task, record in records.items() if record.get("dead")
    }:
        found.append("the dead letter and the records differ")
    return found + _illegal_updates(plain, queue)


def _lanes(plain: redis.Redis, queue: QueueKeys, found: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """(task -> its entry, task -> the consumer it is pending with) over all priorities."""
    entries: dict[str, str] = {}
    holders: dict[str, str] = {}
    for priority in range(10):
        key = queue.key(f"ready:{priority}")
        if not plain.exists(key):
            continue
        tasks = {entry: fields["task"] for entry, fields in plain.xrange(key)}
        if set(tasks.values()) & set(entries) or len(set(tasks.values())) != len(tasks):
            found.append(f"a task stands in the lanes twice (priority {priority})")
        entries |= {task: entry for entry, task in tasks.items()}
        for pending in plain.xpending_range(key, "workers", "-", "+", 1_000_000):
            if pending["message_id"] not in tasks:
                found.append(f"pending entry {pending['message_id']} of priority {priority} has no task")
            else:
                holders[tasks[pending["message_id"]]] = pending["consumer"]
    return entries, holders


def _illegal_updates(plain: redis.Redis, queue: QueueKeys) -> list[str]:
    """Changes that the table of states does not know, or that do not follow from the one before."""
    found: list[str] = []
    at: dict[str, str] = {}
    for entry, update in plain.xrange(queue.key("updates")):
        task, before, after = update["task"], update["from"], update["state"]
        if before and TaskState(after) not in NEXT[TaskState(before)]:
            found.append(f"{task} went from {before} to {after} ({entry})")
        if not before and after != TaskState.SUBMITTED:
            found.append(f"{task} began as {after}")
        if task in at and at[task] != before:
            found.append(f"{task} was {at[task]} and changed from {before} ({entry})")
        at[task] = after
    return found
