"""The graph: recall, outline, write, remember. Its model calls go through Deja, its checkpoints and its memory lie there.

recall and remember use LangGraph's store, and know nothing of Deja; outline and write ask the model, and know it by its base URL.
"""

from __future__ import annotations

import hashlib
import operator
import os
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.base import BaseStore
from pydantic import SecretStr

MODEL = "gpt-4o-mini"
NODES = ("recall", "outline", "write", "remember")


class Question(TypedDict):
    """What a thread begins with.

    Attributes:
        user: who asks; what is remembered is remembered of them.
        question: theirs.
        style: how the answer is to be written.
    """

    user: str
    question: str
    style: str


class State(Question, total=False):
    """What a checkpoint holds.

    Attributes:
        known: memories of the user that may bear on the question.
        outline: of the answer.
        answer: to the user.
        trail: a line for each node that was done: its name, the process that did it, and what Deja's cache said to its model call.
    """

    known: list[str]
    outline: str
    answer: str
    trail: Annotated[list[str], operator.add]


def model_of(base_url: str, api_key: str) -> ChatOpenAI:
    """The model behind Deja: LangChain's own class, with another base URL."""
    return ChatOpenAI(
        model=MODEL,
        base_url=f"{base_url}/v1",
        api_key=SecretStr(api_key),
        default_headers={"X-Deja-Agent": "writer"},
        include_response_headers=True,
    )


class Writer:
    """The nodes.

    Args:
        model: asked by two of them.
        on_start: told the name of each node that begins.
    """

    def __init__(self, model: ChatOpenAI, on_start: Callable[[str], None]) -> None:
        self._model = model
        self._on_start = on_start

    def recall(self, state: State, *, store: BaseStore) -> dict[str, Any]:
        """Look for what earlier threads learned of the user."""
        self._on_start("recall")
        found = store.search(("users", state["user"]), query=state["question"], limit=3)
        return {"known": [item.value["text"] for item in found], "trail": [_done("recall")]}

    def outline(self, state: State, config: RunnableConfig) -> dict[str, Any]:
        """Ask the model for the answer's outline."""
        self._on_start("outline")
        known = "".join(f"\n- {memory}" for memory in state["known"]) or " nothing yet"
        instructions = f"Outline an answer in three points. Known of the user:{known}"
        outline, cache = self._ask(instructions, state["question"], config)
        return {"outline": outline, "trail": [_done("outline", cache)]}

    def write(self, state: State, config: RunnableConfig) -> dict[str, Any]:
        """Ask the model for the answer."""
        self._on_start("write")
        instructions = f"Answer in a {state['style']} style, along this outline:\n{state['outline']}"
        answer, cache = self._ask(instructions, state["question"], config)
        return {"answer": answer, "trail": [_done("write", cache)]}

    def remember(self, state: State, *, store: BaseStore) -> dict[str, Any]:
        """Keep what the user asked. The key is made of it, so that a node that is done again puts the same item."""
        self._on_start("remember")
        key = hashlib.sha256(state["question"].encode()).hexdigest()[:16]
        store.put(("users", state["user"]), key, {"text": f"{state['user']} asked: {state['question']}"})
        return {"trail": [_done("remember")]}

    def _ask(self, instructions: str, question: str, config: RunnableConfig) -> tuple[str, str]:
        """The model's answer, and Cache-Status; in Deja the thread is a session."""
        headers = {"X-Deja-Session": config["configurable"]["thread_id"]}
        said = self._model.invoke([("system", instructions), ("user", question)], extra_headers=headers)
        return str(said.content), said.response_metadata["headers"]["cache-status"]


def build(
    model: ChatOpenAI,
    checkpointer: BaseCheckpointSaver[str],
    store: BaseStore,
    on_start: Callable[[str], None] = lambda _: None,
) -> CompiledStateGraph[State, None, State, State]:
    """The graph, one node after the other."""
    writer = Writer(model, on_start)
    graph = StateGraph(State)
    for name, after in zip(NODES, (START, *NODES), strict=False):
        graph.add_node(name, getattr(writer, name))
        graph.add_edge(after, name)
    graph.add_edge(NODES[-1], END)
    return graph.compile(checkpointer=checkpointer, store=store)


def _done(node: str, cache: str = "") -> str:
    return " ".join(part for part in (node, f"process={os.getpid()}", cache) if part)
