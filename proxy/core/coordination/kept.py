"""How far Redis has come with keeping what it was told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileStanding:
    """How far the append-only file is.

    Attributes:
        life: which run of the server this is; another one after each restart.
        is_kept: whether there is such a file at all.
        written_bytes: handed to the operating system: safe from the death of any process. Falls when the file is rewritten.
        waiting_bytes: still in the server's memory; 0 means that all that was answered is written.
    """

    life: str
    is_kept: bool
    written_bytes: int
    waiting_bytes: int
