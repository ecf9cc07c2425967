"""`deja cache warm|export|import`: answers from and to files, in parts, with a bar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from proxy.commands import asking, terminal
from proxy.commands.asking import AskingError
from proxy.commands.entries import query

AT_ONCE = 50
"""Answers stored by one request: each is embedded, so that it takes some 0.1 s."""
IMPORT_BYTES = 4 << 20
"""Lines sent by one request; the server takes 16 MiB, and one line may be large."""
_PLACE = ("namespace", "query", "context")


def warm(
    root: str,
    file: Path | None,
    *,
    session: str | None,
    model: str | None,
    headers: Mapping[str, str | None],
    api_key: str | None,
) -> str:
    """Store answers from a file, or from a session's recording. Raises AskingError."""
    if (file is None) == (session is None):
        raise AskingError("Say where the answers are: either a FILE, or --session.")
    if file is not None:
        given, total = _from_file(file), file.stat().st_size
    else:
        assert session is not None
        given, total = _from_session(root, session, api_key=api_key), 0
    sent = {name: value for name, value in headers.items() if value is not None}
    became: Counter[str] = Counter()
    with terminal.bars() as bar:
        for part, done in _parts(given):
            body = {"entries": part} | ({} if model is None else {"model": model})
            told = asking.post(root, "cache/entries", body, api_key=api_key, headers=sent)
            became.update(map(_became, told["data"]))
            bar("storing", done, max(total, done))
    stored = became.pop("stored", 0)
    others = "".join(f"\n{count} not stored: {why}" for why, count in became.most_common())
    return f"{stored} answers are stored.{others}"


def exported(root: str, file: Path, wanted: Mapping[str, Any], *, api_key: str | None) -> str:
    """Write entries to a file, which is there once it is whole. Raises AskingError."""
    conditions = {("tags" if name == "tag" else name): value for name, value in wanted.items() if value is not None}
    asked = {**conditions, "everything": True, "dry_run": True}
    total = asking.post(root, "cache/entries/invalidate", asked, api_key=api_key)["matched"]
    partial = file.with_name(f"{file.name}.partial")
    written = 0
    with terminal.bars() as bar, partial.open("wb") as out:
        for line in asking.lines(root, f"cache/entries/export?{query(wanted)}", api_key=api_key):
            out.write(line)
            written += 1
            bar("exporting", written, max(total, written))
    partial.replace(file)
    return f"{written} entries are in {file}. They hold questions and answers: keep the file as you keep those."


def imported(root: str, file: Path, *, api_key: str | None) -> str:
    """Put exported entries back. Raises AskingError."""
    total, became = file.stat().st_size, Counter[str]()
    with terminal.bars() as bar, file.open("rb") as lines:
        for part in iter(lambda: b"".join(lines.readlines(IMPORT_BYTES)), b""):
            told = asking.send_bytes(root, "cache/entries/import", part, api_key=api_key)
            became.update({name: told[name] for name in ("restored", "present", "expired", "refused")})
            bar("importing", lines.tell(), total)
    said = [f"{became['restored']} entries are back."]
    if became["present"]:
        said.append(f"{became['present']} were left: there is an answer already, or it was removed or called wrong.")
    if became["expired"]:
        said.append(f"{became['expired']} have expired.")
    if became["refused"]:
        said.append(
            f"{became['refused']} were refused: another Deja or another key exported them, or they were altered."
        )
    return "\n".join(said)


def _from_file(file: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Each line's answer, and how many bytes have been read."""
    with file.open("rb") as lines:
        for number, line in enumerate(iter(lines.readline, b""), start=1):
            if not line.strip():
                continue
            try:
                given = orjson.loads(line)
            except orjson.JSONDecodeError:
                given = None
            if not isinstance(given, dict) or "answer" not in given:
                raise AskingError(
                    f"Line {number} of {file} is no JSON object with `messages` or `request`, and `answer`."
                )
            yield given, lines.tell()


def _from_session(root: str, session: str, *, api_key: str | None) -> Iterator[tuple[dict[str, Any], int]]:
    """Each complete request of a recording, and its number."""
    after = 0
    while True:
        page = asking.get(root, f"sessions/{quote(session, safe='')}/recording?after={after}", api_key=api_key)
        for step in page["steps"]:
            after = step["step"]
            if None not in (step["request"], step["answer"]) and step["status"] == 200:
                told = {name: step[name] for name in ("path", "headers", "answer")}
                yield {**told, "request": _plain(step["request"])}, after
        if not page["steps"]:
            return


def _plain(request: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded request, of what it asked of the cache only what decides where its answer belongs."""
    wishes = {name: value for name, value in (request.get("deja") or {}).items() if name in _PLACE}
    plain = {name: value for name, value in request.items() if name not in ("deja", "cache")}
    return {**plain, "deja": wishes} if wishes else plain


def _parts(given: Iterator[tuple[dict[str, Any], int]]) -> Iterator[tuple[list[dict[str, Any]], int]]:
    part: list[dict[str, Any]] = []
    done = 0
    for one, done in given:
        part.append(one)
        if len(part) == AT_ONCE:
            yield part, done
            part = []
    if part:
        yield part, done


def _became(told: Mapping[str, Any]) -> str:
    if "id" in told:
        return "stored"
    return str(told["not_stored"]) if "not_stored" in told else str(told["error"]["message"])
