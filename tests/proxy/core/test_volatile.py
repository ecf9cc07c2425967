"""Which questions ask for a value that changes by the hour, and which only sound like it."""

from __future__ import annotations

import time

import pytest

from proxy.core.routing import RouteReason, exact_only

VOLATILE = """
what is TSLA trading at?
what's the weather today
What is the weather in Berlin?
weather in paris
how's the weather
will it rain tomorrow?
is it snowing in Denver right now?
do I need an umbrella today?
latest news
what are today's headlines?
breaking news about the election
what's happening in the world right now
what time is it?
what time is it in Tokyo
what's the current time in London?
current time
what day is it today
what is today's date?
what's the date?
price of bitcoin
how much is ethereum worth?
current gold price
Apple stock price
what's the exchange rate between dollar and euro?
100 usd in eur
usd to eur
who won the game last night?
what's the score of the Lakers game?
is there traffic on the A1 right now?
how is the traffic
is the pharmacy open now?
is flight BA123 on time?
how many days until Christmas?
flights to Rome tomorrow
current mortgage rates
what's the temperature in Berlin right now
is it going to rain tomorrow
what day is it
usd to eur rate
What's the weather like in Oslo?
what time is it in Lima?
tell me the time
time in Lisbon, please
I need to know the date
what's tomorrow's date
what day of the week is it?
what will the date be in 10 days?
how is traffic on the ring road?
is there a lot of traffic on the M25
will traffic be bad on the way to the airport?
convert 50 euros to pounds
20 yen equals how many dollars?
What is the exchange rate of the dollar to the yen?
What is the dollar worth in yen?
how much is 20 dollars in euros
eur/usd
Is it raining in Seattle?
Will it snow this weekend?
how hot is it outside
temperature in Madrid
tell me what the weather is in Bern
What's the forecast for Paris?
chance of rain on Friday
"""
TIMELESS = """
How does exchange rate risk work?
What is the boiling temperature of water?
how do I get the current time in Python
What is a good time to post on social media?
What is time?
What is the temperature of the sun?
What is an exchange rate?
What is exchange rate risk?
What is the difference between weather and climate?
How do I drive more traffic to my website?
What does a traffic light mean?
What is air traffic control?
Why is it raining frogs in the Bible?
What temperature should I bake salmon at?
At what temperature does gold melt?
What is the weather like in Iceland in June?
What was the weather like on D-Day?
How many pounds are in a kilogram?
How many cents are in a dollar?
What is the date of the French Revolution?
What day did Kennedy die?
What is the best time to visit Japan?
What is the time signature of a waltz?
What is a weather front?
Why is the pound stronger than the dollar?
Where can I exchange dollars for euros?
What time does the museum open?
Is it cold in space?
What is room temperature?
Is it safe to swim in the rain?
The exchange rate for my withdrawal is wrong
This is the first time I try this, and now it fails
"""


@pytest.mark.parametrize("text", VOLATILE.strip().splitlines())
def test_a_value_that_changes_by_the_hour_is_volatile(text: str) -> None:
    assert exact_only(text, has_tools=False) is RouteReason.VOLATILE


@pytest.mark.parametrize("text", TIMELESS.strip().splitlines())
def test_a_question_about_how_such_things_work_is_ordinary(text: str) -> None:
    assert exact_only(text, has_tools=False) is None


@pytest.mark.parametrize(
    "piece", ["dollars what in to is ", "what is the time in ", "traffic the ", "1 dollar in euro "]
)
def test_a_long_text_does_not_tie_the_patterns_up(piece: str) -> None:
    started = time.perf_counter()
    exact_only(piece * 2000, has_tools=True)
    assert time.perf_counter() - started < 1.0
