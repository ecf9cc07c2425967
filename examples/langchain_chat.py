"""LangChain through Deja: `ChatOpenAI` with another base URL, streaming and with tools, and what the cache said to each call.

With a Deja that runs (`make run`):

    python -m examples.langchain_chat
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

MODEL = "gpt-4o-mini"


def model_of(base_url: str, api_key: str, session: str) -> ChatOpenAI:
    """The model behind Deja; answers carry the response's headers."""
    return ChatOpenAI(
        model=MODEL,
        base_url=f"{base_url}/v1",
        api_key=SecretStr(api_key),
        default_headers={"X-Deja-Session": session},
        include_response_headers=True,
    )


@tool
def opening_hours(place: str) -> str:
    """When a place is open."""
    return f"{place}: 10 to 18, closed on Mondays"


def stream(model: ChatOpenAI, question: str) -> Iterator[str]:
    """The answer's pieces as they come, and at the end what the cache said, in brackets."""
    whole = None
    for chunk in model.stream(question):
        whole = chunk if whole is None else whole + chunk
        yield str(chunk.content)
    if whole is not None:
        yield f" [{cache_status(whole)}]"


def use_tools(model: ChatOpenAI, question: str) -> tuple[str, list[str]]:
    """The answer of a model that may look up opening hours, and what the cache said to each call it took."""
    able = model.bind_tools([opening_hours])
    messages: list[BaseMessage] = [HumanMessage(question)]
    told: list[str] = []
    while True:
        said = able.invoke(messages)
        messages.append(said)
        told.append(cache_status(said))
        if not said.tool_calls:
            return str(said.content), told
        messages += [
            ToolMessage(opening_hours.invoke(call["args"]), tool_call_id=call["id"]) for call in said.tool_calls
        ]


def cache_status(message: BaseMessage) -> str:
    """What Deja's cache said: `deja; hit; detail=semantic; …`, or why it forwarded."""
    return str(message.response_metadata["headers"]["cache-status"])


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", default="http://127.0.0.1:8080", help="of Deja (%(default)s)")
    parser.add_argument("--api-key", default="langchain-example", help="whose cache it is (%(default)s)")
    given = parser.parse_args()
    model = model_of(given.base_url.rstrip("/").removesuffix("/v1"), given.api_key, session="langchain-chat")
    for question in (
        "What is the capital of France?",
        "What is the capital of France?",
        "What's France's capital city?",
    ):
        print(f"{question}\n  {''.join(stream(model, question))}")
    for _ in range(2):
        answer, told = use_tools(model, "When is the city museum open?")
        print(f"With a tool:\n  {answer} {told}")


if __name__ == "__main__":
    main()
