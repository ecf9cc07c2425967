"""Run the graph of a thread: from the beginning, from where it was when it was killed, or again from an earlier checkpoint.

python -m examples.langgraph_agent.run --thread t1 --kill-before write      killed there, by kill -9
python -m examples.langgraph_agent.run --thread t1                          goes on with that node
python -m examples.langgraph_agent.run --thread t1 --replay-from outline    again from there: every model call is a hit
"""

from __future__ import annotations

import argparse
import os
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

from langgraph.checkpoint.redis import RedisSaver

from examples.langgraph_agent.graph import NODES, Question, build, model_of
from examples.langgraph_agent.store import DejaStore
from proxy.stores.embedded import running_url

ROOT = Path(__file__).resolve().parent.parent.parent


def begin(node: str, *, kill_before: str | None) -> None:
    """Say which node begins; or end as `kill -9` ends a process: nothing is tidied up, no one is told."""
    print(f"-> {node}", flush=True)
    if node == kill_before:
        os.kill(os.getpid(), signal.SIGKILL)


def run(graph: Any, thread: str, question: Question) -> dict[str, Any]:
    """The thread's state at its end. A thread that was begun goes on where its last checkpoint is."""
    config = {"configurable": {"thread_id": thread}}
    is_begun = bool(graph.get_state(config).values)
    # durability: a node begins when the checkpoint of the one before it is written.
    graph.invoke(None if is_begun else question, config, durability="sync")
    return dict(graph.get_state(config).values)


def replay(graph: Any, thread: str, node: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Do a thread again from the newest checkpoint before this node, with some values changed; its newest state from now on."""
    config = {"configurable": {"thread_id": thread}}
    before = next((each for each in graph.get_state_history(config) if each.next == (node,)), None)
    if before is None:
        raise SystemExit(f"No checkpoint of thread {thread} lies just before {node}.")
    fork = graph.update_state(before.config, changes) if changes else before.config
    graph.invoke(None, fork, durability="sync")
    return dict(graph.get_state(config).values)


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", default="http://127.0.0.1:8080", help="of Deja (%(default)s)")
    parser.add_argument("--api-key", default="langgraph-example", help="whose cache and memories (%(default)s)")
    parser.add_argument("--redis-url", help="of the same Redis; left out, the embedded one of the Deja of this clone")
    parser.add_argument("--thread", default="t1", help="in Deja it is the session, too (%(default)s)")
    parser.add_argument("--user", default="ada", help="who asks (%(default)s)")
    parser.add_argument("--question", default="What should I see in Lisbon in two days?")
    parser.add_argument("--style", help="how the answer is written; with --replay-from: anew")
    parser.add_argument("--kill-before", choices=NODES, help="kill -9 the process when this node begins")
    parser.add_argument("--replay-from", choices=NODES, help="do the thread again from this node on")
    given = parser.parse_args()
    url = given.base_url.rstrip("/").removesuffix("/v1")
    redis_url = given.redis_url or running_url(Path(os.environ.get("DEJA_DATA_DIR", ROOT / ".deja")))
    if redis_url is None:
        raise SystemExit("No embedded Redis runs here: start Deja by `make run`, or name its Redis with --redis-url.")
    with closing(DejaStore(url, given.api_key)) as store, RedisSaver.from_conn_string(redis_url) as checkpointer:
        checkpointer.setup()
        graph = build(
            model_of(url, given.api_key), checkpointer, store, lambda node: begin(node, kill_before=given.kill_before)
        )
        if given.replay_from:
            state = replay(graph, given.thread, given.replay_from, {"style": given.style} if given.style else {})
        else:
            question = Question(user=given.user, question=given.question, style=given.style or "friendly")
            state = run(graph, given.thread, question)
    print(*state["trail"], "", state["answer"], sep="\n")


if __name__ == "__main__":
    main()
