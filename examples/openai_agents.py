"""The OpenAI Agents SDK through Deja: an agent with a tool, whose model calls come from the cache when it runs again.

With a Deja that runs (`make run`):

    python -m examples.openai_agents
"""

from __future__ import annotations

import argparse
import asyncio

import httpx
from agents import Agent, OpenAIChatCompletionsModel, RunConfig, Runner, function_tool
from openai import AsyncOpenAI

MODEL = "gpt-4o-mini"


@function_tool
def stock_of(product: str) -> str:
    """How many of a product are in stock."""
    return f"{product}: 12 in stock"


class Clerk:
    """An agent that knows the stock; close it at the end.

    Args:
        base_url: of Deja, without /v1.
        api_key: whose cache it is.
        session: what Deja is to call this run.

    Attributes:
        told: what Deja's cache said to each model call.
    """

    def __init__(self, base_url: str, api_key: str, session: str) -> None:
        self.told: list[str] = []
        self._client = AsyncOpenAI(
            base_url=f"{base_url}/v1",
            api_key=api_key,
            default_headers={"X-Deja-Session": session, "X-Deja-Agent": "clerk"},
            http_client=httpx.AsyncClient(event_hooks={"response": [self._note]}, timeout=60),
        )
        self._agent = Agent(
            name="clerk",
            instructions="You answer customers. Look up the stock before you promise anything.",
            tools=[stock_of],
            model=OpenAIChatCompletionsModel(model=MODEL, openai_client=self._client),
        )

    async def ask(self, question: str) -> str:
        """The answer. The SDK would send what was said to OpenAI as a trace; here it does not."""
        run = await Runner.run(self._agent, question, run_config=RunConfig(tracing_disabled=True))
        return str(run.final_output)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _note(self, response: httpx.Response) -> None:
        self.told.append(response.headers["cache-status"])


async def answer_twice(base_url: str, api_key: str, question: str) -> None:
    """Ask the same in two runs, and show what the cache said."""
    for number in (1, 2):
        clerk = Clerk(base_url, api_key, session=f"run-{number}")
        print(await clerk.ask(question), clerk.told, sep="\n  ")
        await clerk.close()


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", default="http://127.0.0.1:8080", help="of Deja (%(default)s)")
    parser.add_argument("--api-key", default="agents-example", help="whose cache it is (%(default)s)")
    given = parser.parse_args()
    root = given.base_url.rstrip("/").removesuffix("/v1")
    asyncio.run(answer_twice(root, given.api_key, "Are there any red kettles left?"))


if __name__ == "__main__":
    main()
