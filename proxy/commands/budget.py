"""`deja budget`: how a running Deja keeps the error budget of a namespace, for a person to read."""

from __future__ import annotations

from proxy.commands import asking


def budget(root: str, *, namespace: str | None, api_key: str | None) -> str:
    """The error budget in words and numbers. Raises AskingError."""
    found = asking.get(root, "cache/budget", api_key=api_key, namespace=namespace)
    rate, audits = found["wrong_hit_rate"], found["audits"]
    level = "exact hits only" if found["level"] is None else f"{found['level']:.4f}"
    calibrated = "none" if found["calibrated_level"] is None else f"{found['calibrated_level']:.4f}"
    estimate = "unknown" if rate["estimate"] is None else f"{rate['estimate']:.2%}"
    rows = (
        ("state", found["state"]),
        ("budget", f"{found['max_wrong_hit_rate']:.2%}"),
        ("wrong hits, estimated", estimate),
        ("  between (95 %)", f"{rate['low']:.2%} to {rate['high']:.2%}"),
        ("level in force", level),
        ("calibrated level", calibrated),
        ("audited hits", f"{audits['hits']}, {audits['hits_called_wrong']} called wrong"),
        ("audited below the level", f"{audits['below_level']}, {audits['below_level_called_wrong']} called wrong"),
    )
    return "\n".join([found["in_words"], "", *(f"{name:26}{value}" for name, value in rows)])
