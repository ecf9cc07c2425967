"""Tools of what agents share: state, tasks, events, signals, sessions; and of why the cache decided as it did."""

from __future__ import annotations

from proxy.core.coordination.agents import checked_id
from proxy.mcp.calls import Arguments, Call, Tool, given, one_part, path
from proxy.mcp.schemas import anything, choice, flag, integer, many, name, number, record, text, texts

_AGENT = {"agent_id": name("The agent's name: letters, digits and _ . : @ / -.")}
_QUEUE = {"queue": name("The queue's name.")}
_TASK = {**_QUEUE, "task_id": name("The task's id.")}
_LEASE = {**_TASK, "lease": name("From claim_tasks: it shows that the task is yours.")}
MAX_CLAIMED = 10
"""Tasks a model gets at once; their payloads are never shortened."""
MAX_WAIT_S = 20
"""Below the time after which clients give a tool up."""


def tools() -> tuple[Tool, ...]:
    """They."""
    return (*_state(), *_tasks(), *_events(), *_cache())


def _state() -> tuple[Tool, ...]:
    return (
        Tool(
            "get_agent_state",
            "What an agent is doing: its fields, its version, whether its heartbeat is alive.",
            _AGENT,
            ("agent_id",),
            lambda told: Call("GET", _agent(told)),
            is_reading=True,
        ),
        Tool(
            "set_agent_state",
            "Change an agent's state, which all agents see. Only the fields you give change; null removes one. With expected_version "
            "nothing is written if someone else wrote meanwhile: read the state again and decide anew. 0 means: only if it is not there.",
            {
                **_AGENT,
                "fields": record("Such as status, current_task, assigned_by, checkpoint, or your own."),
                "expected_version": integer("The version you read.", 0, 2**53),
            },
            ("agent_id", "fields"),
            _set_state,
            is_destroying=True,
        ),
        Tool(
            "list_agents",
            "The agents, those that changed last first.",
            {
                "status": name("Only with this status."),
                "alive": flag("Only with a heartbeat that is alive, or that has run out."),
                "limit": integer("How many, at most.", 1, 100, 50),
                "cursor": name("`next_cursor` of the page before."),
            },
            (),
            lambda told: Call("GET", path("agents"), {"limit": 50, **given(told, *told)}),
            is_reading=True,
        ),
        Tool(
            "heartbeat",
            "Say that an agent lives, and will say so again within ttl_s seconds; after that it counts as dead.",
            {**_AGENT, "ttl_s": number("Seconds.", 1, 86_400)},
            ("agent_id", "ttl_s"),
            lambda told: Call("POST", _agent(told) + "/heartbeat", body={"ttl_s": told["ttl_s"]}),
        ),
    )


def _tasks() -> tuple[Tool, ...]:
    return (
        Tool(
            "submit_task",
            "Put a task into a queue, for another agent or for later. With an idempotency_key it is there once.",
            {
                **_QUEUE,
                "payload": anything("What is to be done: any JSON."),
                "id": name("Your own id; left out, one is made."),
                "priority": integer("Higher goes first.", 0, 9),
                "delay_s": number("Not before so many seconds from now.", 0, 31_536_000),
                "parent": name("`queue/task_id` of the task this one belongs to."),
                "idempotency_key": name("The same key again is the same task."),
                "session": name("The session it belongs to."),
            },
            ("queue", "payload"),
            lambda told: Call("POST", _queue(told) + "/tasks", body={k: v for k, v in told.items() if k != "queue"}),
        ),
        Tool(
            "claim_tasks",
            "Take tasks out of a queue to do them. Each comes with a lease, which complete_task and fail_task need; when it runs out "
            "unsettled, another worker gets the task.",
            {
                **_QUEUE,
                "worker": name("Your name."),
                "count": integer("How many, at most.", 1, MAX_CLAIMED, 1),
                "wait_s": number("Seconds to wait for one where there is none.", 0, MAX_WAIT_S),
                "lease_s": number("Seconds you need; else as the queue says.", 1, 86_400),
            },
            ("queue", "worker"),
            lambda told: Call("POST", _queue(told) + "/tasks/claim", body=_without_queue(told)),
            is_whole=True,
        ),
        Tool(
            "complete_task",
            "A task that you claimed is done.",
            {**_LEASE, "result": anything("What came of it: any JSON.")},
            ("queue", "task_id", "lease"),
            lambda told: Call("POST", _task(told) + "/complete", body=given(told, "lease", "result")),
        ),
        Tool(
            "fail_task",
            "A task that you claimed could not be done. It is tried again later while attempts are left, else it goes to the dead letter.",
            {**_LEASE, "error": anything("Why: any JSON."), "retry": flag("False: not again.")},
            ("queue", "task_id", "lease"),
            lambda told: Call("POST", _task(told) + "/fail", body=given(told, "lease", "error", "retry")),
        ),
        Tool(
            "get_task",
            "A task: its state, payload, result, attempts.",
            _TASK,
            ("queue", "task_id"),
            lambda told: Call("GET", _task(told)),
            is_reading=True,
        ),
        Tool(
            "list_tasks",
            "Tasks of a queue, newest first, without payloads.",
            {
                **_QUEUE,
                "state": name("Only in this state, such as submitted, working, completed, failed."),
                "worker": name("Only those last given to this worker."),
                "limit": integer("How many, at most.", 1, 100, 50),
                "cursor": name("`next_cursor` of the page before."),
            },
            ("queue",),
            lambda told: Call("GET", _queue(told) + "/tasks", {"limit": 50, **_without_queue(told)}),
            is_reading=True,
        ),
    )


_EVENT = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": text("What kind of event, such as order.created.", minLength=1),
        "data": anything("Any JSON."),
        "subject": text("What it is about."),
        "agent": name("Who tells it."),
        "session": name("In which session."),
    },
}


def _events() -> tuple[Tool, ...]:
    stream = {"stream": name("The stream; left out, `default`.")}
    return (
        Tool(
            "append_events",
            "Append events to a stream that is kept and that all agents can read; all or none.",
            {**stream, "events": many("CloudEvents.", _EVENT, 100)},
            ("events",),
            lambda told: Call("POST", path("events"), given(told, "stream"), body={"events": told["events"]}),
        ),
        Tool(
            "read_events",
            "Read a stream, oldest first from `after` on, or newest first with order desc.",
            {
                **stream,
                "after": name("`next_after` of the page before."),
                "before": name("With order desc: `next_before` of the page before."),
                "order": choice("asc: oldest first (the default); desc: newest first.", "asc", "desc"),
                "limit": integer("How many, at most.", 1, 100, 50),
                "type": texts("Only of these types; one that ends in * means all that begin so.", 32),
                "agent": texts("Only by these agents.", 32),
                "session": texts("Only of these sessions.", 32),
            },
            (),
            lambda told: Call("GET", path("events"), {"limit": 50, **given(told, *told)}),
            is_reading=True,
        ),
        Tool(
            "publish_signal",
            "Send a signal to whoever listens to a channel now. It is not kept; an event or a task is.",
            {"channel": name("The channel."), "data": anything("Any JSON.")},
            ("channel", "data"),
            lambda told: Call("POST", path("signals", told["channel"]), body=told["data"]),
        ),
        Tool(
            "get_session",
            "A session's last messages and events as the proxy recorded them, and its structured data.",
            {"session_id": name("The session's name."), "limit": integer("How many, at most.", 1, 100, 20)},
            ("session_id",),
            lambda told: Call("GET", path("sessions", told["session_id"]), {"limit": 20, **given(told, "limit")}),
            is_reading=True,
        ),
    )


def _cache() -> tuple[Tool, ...]:
    request = {"request_id": name("From the answer's header X-Deja-Request-Id.")}
    return (
        Tool(
            "explain_request",
            "Why the cache answered a completion, or did not: the nearest stored questions, scores, the gate that refused.",
            request,
            ("request_id",),
            lambda told: Call("GET", path("cache", "explain", told["request_id"])),
            is_reading=True,
        ),
        Tool(
            "cache_feedback",
            "Say whether an answer from the cache was right. Wrong removes it and keeps the two questions apart from now on.",
            {**request, "verdict": choice("What it was.", "right", "wrong")},
            ("request_id", "verdict"),
            lambda told: Call("POST", path("cache", "feedback"), body=given(told, "request_id", "verdict")),
            is_destroying=True,
        ),
    )


def _agent(told: Arguments) -> str:
    return path("agents", checked_id(told["agent_id"]))


def _set_state(told: Arguments) -> Call:
    at, fields, version = _agent(told), told["fields"], told.get("expected_version")
    create = Call("PUT", at, body=fields, headers={"if-none-match": "*"})
    if version == 0:
        return create
    if version is None:
        return Call("PATCH", at, body=fields, if_missing=create)
    return Call("PATCH", at, body=fields, headers={"if-match": f'"{version}"'})


def _queue(told: Arguments) -> str:
    return path("queues", one_part(told["queue"], "queue"))


def _task(told: Arguments) -> str:
    return f"{_queue(told)}/tasks/{path(one_part(told['task_id'], 'task_id')).removeprefix('/v1/')}"


def _without_queue(told: Arguments) -> dict[str, object]:
    return given(told, *(key for key in told if key != "queue"))
