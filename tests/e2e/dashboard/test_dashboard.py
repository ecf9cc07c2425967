"""The dashboard in a real browser, over a real Deja: what an operator sees and does there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import httpx
import openai
import pytest
from playwright.sync_api import Page, Route, expect

from tests.deja_process import DejaProcess
from tests.e2e.asking import ask
from tests.e2e.browsing import Watched
from tests.fake_upstream import FakeUpstream

FIRST = "How do I sort a list in Python?"
REWORDED = "In Python, how do I sort a list?"
HOSTILE = "<img src=x onerror=\"document.title='owned'\"> What is the <b>capital</b> of France?"
SECTIONS = ("Overview", "Requests", "Near misses", "Sessions", "Agents", "Queues", "Memory")


@pytest.fixture
def page(watched: Watched, deja: DejaProcess, client: openai.OpenAI) -> Page:
    """The dashboard, with the key of `client` in its tab."""
    watched.page.add_init_script(f"sessionStorage.setItem('deja.key', {json.dumps(client.api_key)})")
    watched.page.goto(f"{deja.root}/dashboard")
    return watched.page


@pytest.fixture
def http(deja: DejaProcess, client: openai.OpenAI) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {client.api_key}"}
    with httpx.Client(base_url=deja.base_url, headers=headers, timeout=20) as http:
        yield http


def test_an_operator_learns_why_it_was_a_hit_and_stops_it_in_two_clicks(page: Page, client: openai.OpenAI) -> None:
    ask(client, FIRST)
    assert ask(client, REWORDED).hit == "semantic"
    row = page.get_by_role("row").filter(has_text="hit by meaning")
    row.click()
    why = page.get_by_role("dialog")
    expect(why).to_contain_text(f"Answered from the cache: the stored question “{FIRST}” asks the same.")
    expect(why.get_by_role("row").filter(has_text="served")).to_contain_text(FIRST)
    expect(why).to_contain_text("needed")
    why.get_by_role("button", name="It was wrong: stop it").click()
    expect(why).to_contain_text("Stopped. The stored answer is removed, and these two questions never match again.")
    ask(client, FIRST)
    assert "detail=feedback" in ask(client, REWORDED).status


def test_a_namespace_is_made_stricter_in_two_clicks_and_a_third_takes_it_back(
    page: Page, client: openai.OpenAI, http: httpx.Client
) -> None:
    for question in (FIRST, REWORDED):
        ask(client, question, headers={"X-Deja-Namespace": "support"})
    page.get_by_role("row").filter(has_text="hit by meaning").click()
    why = page.get_by_role("dialog")
    why.get_by_role("button", name="Be stricter in namespace support").click()
    expect(why).to_contain_text("In namespace support at most 0.50 % of hits by meaning may be wrong from now on.")
    assert http.get("/cache/policies/support").json()["max_wrong_hit_rate"] == 0.005
    why.get_by_role("button", name="Undo").click()
    expect(why).to_contain_text("It is as it was.")
    assert http.get("/cache/policies/support").status_code == 404


def test_the_same_goes_by_keyboard_alone(page: Page, client: openai.OpenAI) -> None:
    ask(client, FIRST)
    ask(client, REWORDED)
    opener = page.get_by_role("row").filter(has_text="hit by meaning").get_by_role("button")
    opener.focus()
    page.keyboard.press("Enter")
    why = page.get_by_role("dialog")
    expect(why).to_be_visible()
    page.keyboard.press("Escape")
    expect(why).to_be_hidden()
    expect(opener).to_be_focused()
    page.keyboard.press("Enter")
    expect(why.get_by_role("button", name="wrong")).to_be_enabled()
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").startswith("✗"):
            break
    page.keyboard.press("Enter")
    expect(why).to_contain_text("Stopped.")


def test_requests_appear_as_they_come_and_hold_still_while_paused(page: Page, client: openai.OpenAI) -> None:
    ask(client, FIRST)
    expect(page.get_by_role("row").filter(has_text=FIRST)).to_have_count(1)
    page.get_by_role("button", name="Pause").click()
    ask(client, "What is the tallest mountain in Wales?")
    expect(page.get_by_text("1 more since")).to_be_visible()
    page.get_by_role("button", name="Go on").click()
    page.mouse.move(0, 0)
    expect(page.get_by_role("row").filter(has_text="Wales")).to_have_count(1)


def test_what_a_caller_wrote_is_shown_and_never_run(page: Page, watched: Watched, client: openai.OpenAI) -> None:
    ask(client, HOSTILE)
    page.get_by_role("row").filter(has_text="<b>capital</b>").click()
    expect(page.get_by_role("dialog")).to_contain_text(HOSTILE)
    assert page.locator("main img, dialog img, dialog b").count() == 0
    assert page.title() == "Overview · Deja"
    assert watched.complaints == []


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 1280), ("dark", 390)], ids=["light", "dark", "phone"]
)
def test_every_section_fits_asks_nobody_else_and_complains_of_nothing(
    page: Page, watched: Watched, deja: DejaProcess, client: openai.OpenAI, scheme: str, width: int
) -> None:
    ask(client, FIRST, headers={"X-Deja-Session": "a" * 100})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 800})
    for section in SECTIONS:
        page.get_by_role("link", name=section).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(section)
        page.wait_for_load_state("load")
        expect(page.get_by_text("Asking …")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, section
    assert all(address.startswith(deja.root) for address in watched.asked)
    assert not any(client.api_key in address for address in watched.asked)
    assert watched.complaints == []


def test_a_picture_has_a_table_that_says_the_same(page: Page, client: openai.OpenAI) -> None:
    ask(client, FIRST)
    ask(client, FIRST)
    page.get_by_text("Answers as a table").click()
    cells = page.get_by_role("region", name="Answers").get_by_role("row").nth(1).get_by_role("cell")
    expect(cells).to_have_text([re.compile("."), "0", "1", "1"], timeout=15_000)


def test_the_slider_replays_the_callers_own_requests(page: Page, client: openai.OpenAI) -> None:
    ask(client, FIRST)
    ask(client, REWORDED)
    page.get_by_role("link", name="Near misses").click()
    slider = page.get_by_role("slider")
    kept = page.get_by_role("row").filter(has_text="under this budget").get_by_role("cell").nth(1)
    expect(kept).to_have_text("1")
    slider.focus()
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", "0.10 % of hits may be wrong")
    expect(kept).to_have_text("0")
    expect(page.get_by_role("region", name="Hits that would go")).to_contain_text(REWORDED)


def test_a_dead_letter_gets_another_chance(page: Page, http: httpx.Client) -> None:
    http.put("/queues/mail", json={"max_attempts": 1})
    http.post("/queues/mail/tasks", json={"payload": 1})
    (task,) = http.post("/queues/mail/tasks/claim", json={"worker": "w"}).json()["data"]
    http.post(f"/queues/mail/tasks/{task['id']}/fail", json={"lease": task["lease"], "error": "no such mailbox"})
    page.get_by_role("link", name="Queues").click()
    page.get_by_role("button", name="mail").click()
    expect(page.get_by_role("region", name="Dead letters of mail")).to_contain_text("no such mailbox")
    page.get_by_role("button", name=f"Requeue {task['id']}").click()
    expect(page.get_by_role("status")).to_contain_text("is ready again.")
    assert http.get(f"/queues/mail/tasks/{task['id']}").json()["state"] == "submitted"


def test_agents_sessions_and_memories_are_found(page: Page, http: httpx.Client, client: openai.OpenAI) -> None:
    http.put("/agents/planner", json={"status": "thinking"})
    http.post("/agents/planner/heartbeat", json={"ttl_s": 60})
    http.post("/long-term-memory", json={"memories": [{"id": "m1", "text": "Ada prefers tea.", "user_id": "ada"}]})
    ask(client, FIRST, headers={"X-Deja-Session": "chat/1"})
    page.get_by_role("link", name="Agents").click()
    expect(page.get_by_role("row").filter(has_text="planner")).to_contain_text("alive")
    page.get_by_role("link", name="Memory").click()
    page.get_by_label("Text").fill("what does she drink?")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("row").filter(has_text="Ada prefers tea.")).to_be_visible()
    page.get_by_role("link", name="Sessions").click()
    page.get_by_role("button", name="chat/1").click()
    expect(page.get_by_role("heading", name="Timeline of chat/1")).to_be_focused()
    expect(page.get_by_role("listitem").filter(has_text="why?")).to_contain_text("provider")


def test_another_tenants_requests_are_not_shown(
    page: Page, client: openai.OpenAI, new_client: Callable[..., openai.OpenAI], upstream: FakeUpstream
) -> None:
    ask(new_client(), "What did the other tenant ask?")
    ask(client, FIRST)
    expect(page.get_by_role("row").filter(has_text=FIRST)).to_have_count(1)
    expect(page.get_by_role("row").filter(has_text="the other tenant")).to_have_count(0)


def test_where_a_key_is_needed_the_page_asks_for_it_and_keeps_it_in_the_tab(
    watched: Watched, deja: DejaProcess, client: openai.OpenAI
) -> None:
    ask(client, FIRST)

    def locked(
        route: Route,
    ) -> None:  # the door's own refusals have their tests; here it is what the page does with one
        if "authorization" in route.request.headers:
            route.continue_()
        else:
            error = {"error": {"message": "Deja needs a key it knows.", "code": "invalid_api_key"}}
            route.fulfill(status=401, json=error)

    page = watched.page
    page.route("**/v1/**", locked)
    page.goto(f"{deja.root}/dashboard/")
    expect(page.get_by_role("dialog")).to_contain_text("Deja needs a key it knows.")
    page.get_by_label("Key", exact=True).fill(client.api_key)
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("row").filter(has_text=FIRST)).to_have_count(1)
    assert page.evaluate("JSON.stringify([localStorage, document.cookie])").count(client.api_key) == 0
