"""Counts of cl100k_base stand beside the texts: the estimate has to come near them."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.token_estimate import IMAGE_TOKENS, MESSAGE_TOKENS, message_tokens, text_tokens

SAMPLES = {
    "English": (
        "The museum opens at nine on weekdays and at ten on Sundays. Visitors who come early can walk th"
        "rough the old garden, which is free of charge, and see the fountain that the town was named aft"
        "er.",
        41,
    ),
    "German": (
        "Das Museum öffnet werktags um neun und sonntags um zehn Uhr. Wer früh kommt, kann durch den alt"
        "en Garten gehen, der nichts kostet, und den Brunnen sehen, nach dem die Stadt benannt ist.",
        52,
    ),
    "French": (
        "Le musée ouvre à neuf heures en semaine et à dix heures le dimanche. Ceux qui arrivent tôt peuv"
        "ent traverser l'ancien jardin, qui est gratuit, et voir la fontaine qui a donné son nom à la vi"
        "lle.",
        55,
    ),
    "Russian": (
        "Музей открывается в девять часов по будням и в десять по воскресеньям. Кто придёт рано, может п"
        "ройти через старый сад и увидеть фонтан, по которому назван город.",
        77,
    ),
    "Chinese": (
        "博物馆平日九点开门,星期天十点开门。早到的游客可以免费参观古老的花园,并看到这座城市因之得名的喷泉。",
        61,
    ),
    "Japanese": (
        "博物館は平日は九時に、日曜日は十時に開きます。早く来た人は無料の古い庭園を歩いて、町の名前"
        "の由来になった噴水を見ることができます。",
        75,
    ),
    "Korean": (
        "박물관은 평일에는 아홉 시에, 일요일에는 열 시에 문을 엽니다. 일찍 오는 사람은"
        " 무료인 오래된 정원을 거닐며 도시 이름의 유래가 된 분수를 볼 수 있습니다.",
        80,
    ),
    "Python": (
        'def opening_hour(day: str) -> int:\n    """Hour at which the museum opens."""\n    if day in ("sa'
        'turday", "sunday"):\n        return 10\n    return DEFAULTS.get(day, 9)\n',
        46,
    ),
    "JSON": (
        '{"museum": {"name": "Town Museum", "hours": {"weekday": [9, 17], "sunday": [10, 16]}, "free": ['
        '"garden", "fountain"], "price_eur": 7.5}}',
        54,
    ),
}


@pytest.mark.parametrize(("text", "tokens"), SAMPLES.values(), ids=SAMPLES)
def test_an_estimate_is_near_what_a_tokenizer_counts(text: str, tokens: int) -> None:
    assert text_tokens(text) == pytest.approx(tokens, rel=0.25)


def test_no_text_costs_nothing_and_any_text_something() -> None:
    assert text_tokens("") == 0
    assert all(text_tokens(char) >= 1 for char in string.printable + "é猫😀\ud800")


@given(st.text(max_size=300))
def test_any_text_can_be_counted_and_costs_at_most_a_few_tokens_a_character(text: str) -> None:
    assert 0 <= text_tokens(text) <= 4 * len(text) + 1


@given(st.text(st.sampled_from("aZ9 .é猫😀\n"), max_size=200), st.text(st.sampled_from("aZ9 .é猫😀\n"), max_size=200))
def test_two_texts_cost_about_what_they_cost_together(one: str, two: str) -> None:
    assert abs(text_tokens(f"{one}\n{two}") - text_tokens(one) - text_tokens(two)) <= 0.2 * len(one + two) + 3


def test_a_long_text_is_judged_by_samples_of_all_of_it() -> None:
    page = "The quick brown fox jumps over the lazy dog, and 12 others.\n"
    assert text_tokens(page * 5000) == pytest.approx(5000 * text_tokens(page), rel=0.05)
    assert text_tokens(page * 1000 + "猫" * 60_000) > 2 * text_tokens(page * 1000)


def test_what_is_no_text_has_a_price_of_its_own() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    assert message_tokens({"role": "user", "content": [picture]}) == MESSAGE_TOKENS + IMAGE_TOKENS
    called = {"id": "c", "function": {"name": "look_up", "arguments": '{"city": "Lima", "unit": "celsius"}'}}
    assert 15 < message_tokens({"role": "assistant", "content": None, "tool_calls": [called]}) < 40
    assert message_tokens({"role": "assistant", "content": None}) == MESSAGE_TOKENS


@pytest.mark.parametrize("content", [5, True, {"a": 1}, [1, None, {"type": 3}], [["x"]]])
def test_whatever_was_sent_can_be_counted(content: object) -> None:
    assert message_tokens({"role": "user", "content": content, "tool_calls": "x", "function_call": 3}) >= MESSAGE_TOKENS
