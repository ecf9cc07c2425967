"""Deja: an OpenAI-compatible proxy that answers from Redis when a prompt means what an earlier one meant."""

import sys

# httpx imports the command line that it brings along, and with it rich, pygments and click, wherever these are installed: 5 MB and 40 ms of
# every worker's start. It does without where that fails, and None makes it fail.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
