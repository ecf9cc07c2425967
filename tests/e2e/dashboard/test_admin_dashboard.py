"""The dashboard's section for admins, in a real browser: all tenants in numbers, and nobody's words."""

from __future__ import annotations

import json
import time
import uuid

import httpx
import openai
import pytest
from playwright.sync_api import Page, expect

from tests.deja_process import DejaProcess
from tests.e2e.asking import ask
from tests.e2e.browsing import Watched
from tests.fake_answers import saying
from tests.fake_upstream import FakeUpstream

QUESTION = "Which wood do violins need?"


@pytest.fixture(scope="module")
def admin_key(deja: DejaProcess) -> str:
    return (deja.data_dir / "admin-key").read_text()


@pytest.fixture(scope="module")
def shop(deja: DejaProcess, provider: FakeUpstream, admin_key: str) -> str:
    """A tenant with a name, half of whose requests were answered from the cache, and are counted."""
    provider.script(saying("Spruce and maple."))
    tenant = f"shop-{uuid.uuid4().hex[:8]}"
    with httpx.Client(base_url=deja.root, headers={"Authorization": f"Bearer {admin_key}"}, timeout=20) as admin:
        key = admin.post("/admin/keys", json={"name": "till-3", "tenant": tenant}).json()["key"]
        with openai.OpenAI(base_url=deja.base_url, api_key=key, max_retries=0, timeout=20) as client:
            for _ in range(2):
                ask(client, QUESTION)
        give_up_at = time.monotonic() + 20
        while True:
            rows = {one["name"]: one for one in admin.get("/admin/overview").json()["tenants"]}
            if rows.get(tenant, {}).get("requests") == {"exact": 1, "miss": 1}:
                return tenant
            assert time.monotonic() < give_up_at, deja.log
            time.sleep(0.1)


@pytest.fixture
def page(watched: Watched, deja: DejaProcess, admin_key: str) -> Page:
    """The section, with an admin's key in its tab."""
    watched.page.add_init_script(f"sessionStorage.setItem('deja.key', {json.dumps(admin_key)})")
    watched.page.goto(f"{deja.root}/dashboard/#/tenants")
    return watched.page


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 1280), ("dark", 390)], ids=["light", "dark", "phone"]
)
def test_an_admin_sees_each_tenant_and_all_together_and_no_words(
    shop: str, page: Page, watched: Watched, scheme: str, width: int
) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    row = page.get_by_role("region", name="Tenants").get_by_role("row").filter(has_text=shop)
    expect(row).to_contain_text("till-3")
    expect(row).to_contain_text("50.0 %")
    expect(page.get_by_text("Dead letters")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text("All tenants")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert QUESTION not in page.content()
    assert watched.complaints == []


def test_the_time_shown_is_chosen_by_keyboard(page: Page) -> None:
    hour = page.get_by_role("button", name="1 hour")
    hour.focus()
    with page.expect_request("**/admin/overview?step=minute&limit=60"):
        page.keyboard.press("Enter")
    expect(hour).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="24 hours")).to_have_attribute("aria-pressed", "false")


def test_a_tenants_key_is_told_whom_the_section_is_for(
    watched: Watched, deja: DejaProcess, client: openai.OpenAI
) -> None:
    watched.page.add_init_script(f"sessionStorage.setItem('deja.key', {json.dumps(client.api_key)})")
    watched.page.goto(f"{deja.root}/dashboard/")
    watched.page.get_by_role("link", name="All tenants").click()
    expect(watched.page.get_by_text("This section is for an admin's key")).to_be_visible()
    expect(watched.page.get_by_role("region", name="Tenants")).to_have_count(0)
    watched.page.get_by_role("button", name="Give an admin's key").click()
    expect(watched.page.get_by_role("dialog")).to_contain_text("API key")
