from __future__ import annotations

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from proxy.tuning import page
from proxy.tuning.page import Picture, Section

HOSTILE = "<script>alert('x')</script>\"'&</p>"
VOID = {"meta", "img", "source"}


class Parser(HTMLParser):
    """Notes tags, attributes and text, and that every tag is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(html: str) -> Parser:
    parser = Parser()
    parser.feed(html)
    parser.close()
    assert not parser.open
    return parser


def whole() -> str:
    body = (
        page.paragraph(HOSTILE)
        + page.cards([(HOSTILE, HOSTILE, HOSTILE)])
        + page.table(HOSTILE, [HOSTILE, "n"], [[HOSTILE, "1"]], 0)
    )
    body += page.picture(Picture(b"light", b"dark"), HOSTILE) + page.quoted(
        [(HOSTILE, HOSTILE, HOSTILE, "bad")], HOSTILE, is_open=True
    )
    return page.page(HOSTILE, HOSTILE, "", [Section("one", HOSTILE, body), Section("two", "Second", "")], HOSTILE)


def test_no_text_is_taken_for_markup() -> None:
    told = parsed(whole())
    assert "script" not in {tag for tag, _ in told.tags}
    assert told.text.count("<script>") >= 10


@given(text=st.text())
def test_any_text_is_quoted_as_it_is(text: str) -> None:
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    assert parsed(page.paragraph(plain)).text.strip("\n") == plain.strip("\n")


def test_nothing_is_fetched_and_nothing_runs() -> None:
    told = parsed(whole())
    links = [
        value or ""
        for _, attributes in told.tags
        for name, value in attributes.items()
        if name in ("src", "srcset", "href")
    ]
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in links)
    assert not [name for _, attributes in told.tags for name in attributes if name.startswith("on")]
    policy = next(attributes["content"] for tag, attributes in told.tags if attributes.get("http-equiv"))
    assert "default-src 'none'" in (policy or "")
    assert "url(" not in whole()


def test_every_link_leads_somewhere_and_wide_tables_take_the_keyboard() -> None:
    told = parsed(whole())
    anchors = {attributes["id"] for _, attributes in told.tags if "id" in attributes}
    targets = {(attributes["href"] or "")[1:] for tag, attributes in told.tags if tag == "a"}
    assert targets == {"main", "one", "two"}
    assert targets <= anchors
    region = next(attributes for _, attributes in told.tags if attributes.get("role") == "region")
    assert region["tabindex"] == "0"
    assert region["aria-label"]
    assert all(attributes.get("alt") for tag, attributes in told.tags if tag == "img")


def test_both_grounds_have_their_colours_and_pictures() -> None:
    html = whole()
    assert html.count("prefers-color-scheme: dark") == 2  # the style, and the picture
    names = set(re.findall(r"var\((--\w+)\)", html))
    for ground in (html.split("@media")[0], html.split("@media")[1]):
        assert {name for name in names if f"{name}:" in ground} == names


def test_an_empty_list_says_so() -> None:
    assert "none" in parsed(page.quoted([], "Wrong ones", is_open=True)).text
