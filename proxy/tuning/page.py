"""A web page that is one file: its style, tables, pictures and quoted texts. No script, nothing fetched; light and dark as the reader's
system says; everything reachable by keyboard.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1d2433; --soft: #566074; --line: #d5dae3; --panel: #f4f6fa; --ours: #0b62c4;
  --good: #1c7a43; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ground: #161b26; --ink: #e6e9f0; --soft: #a3acbe; --line: #343c4d; --panel: #1e2533;
  --ours: #6fb1ff; --good: #6fd195; --bad: #ff9a92; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main, header, footer { max-width: 62rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 .5rem; }
p { max-width: 46rem; }
.soft, footer, figcaption { color: var(--soft); }
.lead { font-size: 1.15rem; border-left: .3rem solid var(--ours); padding: .25rem 0 .25rem 1rem; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .4rem 1.2rem; padding: 0; }
a { color: var(--ours); }
a:focus-visible, summary:focus-visible, .wide:focus-visible { outline: 3px solid var(--ours); outline-offset: 3px; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; top: .5rem; background: var(--ground); padding: .5rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem; margin: 1.5rem 0; padding: 0; }
.cards div { background: var(--panel); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; }
.cards dt { color: var(--soft); font-size: .9rem; } .cards dd { margin: 0; font-size: 1.5rem; font-weight: 600; }
.cards .note { font-size: .85rem; font-weight: 400; color: var(--soft); }
.wide { overflow-x: auto; margin: 1rem 0 1.5rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .35rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
td { white-space: nowrap; }
thead th { color: var(--soft); font-weight: 500; font-size: .9rem; } tr.chosen { background: var(--panel); font-weight: 600; }
caption { text-align: left; color: var(--soft); padding: .3rem 0; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; border: 1px solid var(--line); border-radius: .6rem; }
details { margin: .6rem 0; } summary { cursor: pointer; font-weight: 600; padding: .3rem 0; }
ol.pairs { padding: 0; list-style: none; }
ol.pairs li { border: 1px solid var(--line); border-radius: .6rem; padding: .6rem .9rem; margin: .6rem 0; }
.pairs p { margin: .1rem 0; max-width: none; overflow-wrap: anywhere; } .tag { color: var(--soft); font-size: .9rem; }
.bad { color: var(--bad); } .good { color: var(--good); }
footer { padding: 2rem 1.25rem 3rem; font-size: .9rem; }
"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""The page may load nothing: texts of pairs are quoted in it, and even a mistake in escaping must not act."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: [a-z-]+, for links to it.
        title: plain text.
        body: HTML, made by the functions here.
    """

    anchor: str
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture for light and for dark ground, both PNG."""

    light: bytes
    dark: bytes


def page(title: str, under: str, top: str, sections: Sequence[Section], footer: str) -> str:
    """Put a page together.

    Args:
        title: plain text.
        under: plain text below the title.
        top: HTML before the first section.
        sections: in order.
        footer: plain text.
    """
    links = "".join(f'<li><a href="#{one.anchor}">{escape(one.title)}</a></li>' for one in sections)
    body = "".join(
        f'<section aria-labelledby="{one.anchor}"><h2 id="{one.anchor}">{escape(one.title)}</h2>{one.body}</section>\n'
        for one in sections
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#main">Skip to the results</a>\n<header><h1>{escape(title)}</h1><p class="soft">{escape(under)}</p>'
        f'<nav aria-label="Parts of this page"><ul>{links}</ul></nav></header>\n<main id="main">\n{top}\n{body}</main>\n'
        f"<footer><p>{escape(footer)}</p></footer>\n</body>\n</html>\n"
    )


def paragraph(text: str, style: str = "") -> str:
    """Plain text as a paragraph."""
    return f"<p{f' class={style!r}' if style else ''}>{escape(text)}</p>\n"


def cards(facts: Sequence[tuple[str, str, str]]) -> str:
    """Large numbers: (what, value, note)."""
    told = "".join(
        f'<div><dt>{escape(what)}</dt><dd>{escape(value)}</dd><dd class="note">{escape(note)}</dd></div>'
        for what, value, note in facts
    )
    return f'<dl class="cards">{told}</dl>\n'


def table(caption: str, heading: Sequence[str], rows: Sequence[Sequence[str]], chosen: int | None = None) -> str:
    """A table of plain texts; it scrolls by itself where the window is narrow.

    Args:
        caption: says what it holds.
        heading: of the columns.
        rows: cell by cell.
        chosen: a row to point out.
    """
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heading)
    body = ""
    for number, (first, *rest) in enumerate(rows):
        cells = f'<th scope="row">{escape(first)}</th>' + "".join(f"<td>{escape(one)}</td>" for one in rest)
        body += f'<tr class="chosen">{cells}</tr>' if number == chosen else f"<tr>{cells}</tr>"
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(caption)}"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n"
    )


def picture(one: Picture, described: str) -> str:
    """A picture inside the page.

    Args:
        one: for both grounds.
        described: what it shows, for those who cannot see it, and below it.
    """
    light, dark = (f"data:image/png;base64,{base64.b64encode(png).decode()}" for png in (one.light, one.dark))
    return (
        f'<figure><picture><source srcset="{dark}" media="(prefers-color-scheme: dark)"><img src="{light}" width="720" '
        f'alt="{escape(described)}"></picture><figcaption>{escape(described)}</figcaption></figure>\n'
    )


def quoted(pairs: Sequence[tuple[str, str, str, str]], title: str, *, is_open: bool) -> str:
    """Pairs of texts to read, folded away if there are many.

    Args:
        pairs: (one text, the other, a remark, "good", "bad" or "" for its colour).
        title: of the list.
        is_open: whether it is unfolded at first.
    """
    if not pairs:
        return paragraph(f"{title}: none.", "soft")
    items = "".join(
        f'<li><p>{escape(one)}</p><p>{escape(other)}</p><p class="tag {style}">{escape(remark)}</p></li>'
        for one, other, remark, style in pairs
    )
    summary = f"<summary>{escape(title)} ({len(pairs)})</summary>"
    return f'<details{" open" if is_open else ""}>{summary}<ol class="pairs">{items}</ol></details>\n'
