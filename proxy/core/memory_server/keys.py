"""Redis names of working memory and summary views.

    deja:v1:working-memory:{<tenant>}:<memory>        hash  one session's working memory; a TTL only where the caller gave one
    deja:v1:working-memories:{<tenant>}:<list>        zset  sessions by when they last changed (unix ms): all, of a namespace, of a user, …
    deja:v1:working-memory-due:{<tenant>}             zset  sessions with a TTL, and the lists they are in, by when it is over (unix ms)
    deja:v1:working-memory-waiting                    zset  sessions whose memories are not in long-term memory yet, by when they were put
    deja:v1:summary-views:{<tenant>}                  hash  id -> a view (JSON)
    deja:v1:summary-view:{<tenant>}:<view>            hash  group -> the summary of one partition (JSON)
    deja:v1:summary-view-tenants                      set   tenants that have views
    deja:v1:summary-view-turn:{<tenant>}:<view>       string  a process refreshes this view now, or has just done so
    deja:v1:memory-task:{<tenant>}:<task>             hash  how a run of a view goes

`<memory>`, `<list>` and `<task>` are digests, since session ids, users, namespaces and task ids are whatever a caller writes;
the hashes hold them readably.
"""

from __future__ import annotations

from proxy.core.keys import PREFIX, digest
from proxy.core.memory_server.working import SessionName

WAITING = f"{PREFIX}working-memory-waiting"
VIEW_TENANTS = f"{PREFIX}summary-view-tenants"


def memory_tag(name: SessionName) -> str:
    """Names a session of a tenant."""
    return digest("working-memory", name.namespace, name.user, name.session)


def memory_prefix(tenant: str) -> str:
    """What keys of working memories begin with; a tag completes one."""
    return f"{PREFIX}working-memory:{{{tenant}}}:"


def working_memory(tenant: str, name: SessionName) -> str:
    """A session's working memory."""
    return memory_prefix(tenant) + memory_tag(name)


def list_prefix(tenant: str) -> str:
    """What keys of lists of sessions begin with; a tag completes one."""
    return f"{PREFIX}working-memories:{{{tenant}}}:"


def list_tag(*, namespace: str | None = None, user: str | None = None) -> str:
    """Names the list of the sessions of a namespace, of a user, of both, or of all."""
    return digest("sessions", namespace, user)


def same_id_tag(session: str) -> str:
    """Names the list of the sessions with this id, whosever they are."""
    return digest("session-id", session)


def list_tags(name: SessionName) -> list[str]:
    """Names every list that a session is in."""
    wanted = [list_tag(), same_id_tag(name.session)]
    if name.namespace is not None:
        wanted.append(list_tag(namespace=name.namespace))
    if name.user is not None:
        wanted.append(list_tag(user=name.user))
    if name.namespace is not None and name.user is not None:
        wanted.append(list_tag(namespace=name.namespace, user=name.user))
    return wanted


def due(tenant: str) -> str:
    """Sessions by when their TTL is over."""
    return f"{PREFIX}working-memory-due:{{{tenant}}}"


def views(tenant: str) -> str:
    """A tenant's summary views."""
    return f"{PREFIX}summary-views:{{{tenant}}}"


def view(tenant: str, view_id: str) -> str:
    """The summaries of one view."""
    return f"{PREFIX}summary-view:{{{tenant}}}:{view_id}"


def view_turn(tenant: str, view_id: str) -> str:
    """Whose turn it is to refresh a view."""
    return f"{PREFIX}summary-view-turn:{{{tenant}}}:{view_id}"


def task(tenant: str, task_id: str) -> str:
    """A run of a view."""
    return f"{PREFIX}memory-task:{{{tenant}}}:{digest('memory-task', task_id)}"
