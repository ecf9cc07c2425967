"""`deja cache migration`: how far a running Deja is with embedding its entries anew."""

from __future__ import annotations

from proxy.commands import asking


def status(root: str, *, key: str) -> str:
    """How far it is, in a sentence or two. Raises AskingError."""
    told = asking.get(root, "/admin/migration", api_key=key)
    if told["state"] == "none":
        return "No entry had to be embedded anew: the embedder has not been changed."
    exact_only = f" {told['exact_only']} of them serve exact repeats alone." if told["exact_only"] else ""
    moved = f"{told['moved']} entries have moved from {told['from']} to {told['to']}.{exact_only}"
    if told["state"] == "ended":
        return f"Done: {moved}"
    left = "It is not known yet how many are left." if told["left"] is None else f"{told['left']} are left."
    return f"Under way: {moved} {left}"
