"""What Deja says to the person at the terminal: progress, complaints, the banner."""

from __future__ import annotations

import sys
import time

from proxy.settings import Settings

_BAR_CHARS = 24
_REDRAW_S = 0.1
FIRST_QUESTION = "What is the capital of France?"
REWORDED = "What's France's capital city?"


def say(sentence: str) -> None:
    """One line about what is going on."""
    print(f"deja: {sentence}", file=sys.stderr, flush=True)


def complain(sentence: str) -> None:
    """One line about why it stops."""
    print(f"deja: cannot start: {sentence}", file=sys.stderr, flush=True)


class _Progress:
    """A bar on a terminal, a line per step elsewhere."""

    def __init__(self) -> None:
        self._step = ""
        self._drawn_at = 0.0

    def __call__(self, step: str, share: float | None) -> None:
        is_new = step != self._step
        self._step = step
        if not sys.stderr.isatty() or share is None:
            if is_new:
                say(step)
            return
        now = time.monotonic()
        if now - self._drawn_at < _REDRAW_S and share < 1.0:
            return
        self._drawn_at = now
        filled = round(share * _BAR_CHARS)
        end = "\n" if share >= 1.0 else ""
        print(
            f"\rdeja: {step} [{'#' * filled}{'.' * (_BAR_CHARS - filled)}] {share:4.0%}",
            end=end,
            file=sys.stderr,
            flush=True,
        )


def progress(step: str, share: float | None = None) -> None:
    """Show how far a long step is.

    Args:
        step: what is being done.
        share: how much of it is done, in [0, 1]; None when nobody knows.
    """
    _PROGRESS(step, share)


_PROGRESS = _Progress()


def show_banner(settings: Settings, *, port: int) -> None:
    """Say that it serves."""
    print(banner(settings, port=port), file=sys.stderr, flush=True)


def banner(settings: Settings, *, port: int) -> str:
    """Where Deja serves, what it forwards to, and the first thing to try."""
    root = f"http://{settings.host}:{port}"
    if settings.upstream.base_url is not None:
        provider = f"Forwarding to {settings.upstream.base_url}."
    elif settings.model_list:
        provider = (
            "Forwarding to the model_list of deja.yaml; other models get the SIMULATED provider's invented answers."
        )
    else:
        provider = (
            "No provider is configured: answers come from the built-in SIMULATED provider and are invented.\n"
            "  Set OPENAI_API_KEY, or DEJA_UPSTREAM__BASE_URL, for real ones."
        )
    return _BANNER.format(root=root, base_url=f"{root}/v1", provider=provider, first=FIRST_QUESTION, reworded=REWORDED)


_BANNER = """
  Deja serves {base_url}
  {provider}

  Ask once:
    curl -si {base_url}/chat/completions -H 'Content-Type: application/json' \\
      -d '{{"model": "gpt-4o-mini", "messages": [{{"role": "user", "content": "{first}"}}]}}'

  Ask in other words, and look at the Cache-Status header (hit; detail=semantic):
    from openai import OpenAI
    client = OpenAI(base_url="{base_url}", api_key="any")
    for question in ("{first}", "{reworded}"):
        answer = client.chat.completions.with_raw_response.create(
            model="gpt-4o-mini", messages=[{{"role": "user", "content": question}}])
        print(answer.headers["cache-status"])

  State: {root}/ready   Stop: Ctrl-C
"""
