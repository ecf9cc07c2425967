"""The Agent Memory Server's REST shape, for its unmodified client: parses, calls one service, renders."""

from fastapi import APIRouter

from proxy.api.memory import long_term, prompt, summary_views, working_memory

router = APIRouter()
for _module in (working_memory, long_term, prompt, summary_views):
    router.include_router(_module.router)
