"""Which questions go to the exact tier only, by intent and not by words."""

from __future__ import annotations

import pytest

from proxy.core.routing import RouteReason, exact_only, refers_to_own_words

ACTION = """
send Bob 50 €
Send an email to my boss saying I'm sick
email john the report
text elizabeth that i will be late
text mom i'm on my way
call my dentist
call me a taxi
book me a table for two at eight
book a flight from Boston to Denver on Friday
please reserve a room at the Hilton
reserve a table for 3 under the name Lance
can you book a hotel room in Rome for me?
make a reservation for 4 at Luigi's
schedule a meeting with Anna tomorrow at 10
set up a call with the sales team
order me a large pizza
order some groceries
buy 10 shares of Apple
pay my electricity bill
pay the rent
transfer $200 to my savings
transfer money from my checking account to savings
wire 500 dollars to Alice
withdraw 100 euros
cancel my subscription
please cancel the reservation for tonight
could you please delete my account
I want you to cancel my order
freeze my card
block my card, it was stolen
change my delivery address
renew my membership
unsubscribe me from the newsletter
sign me up for the trial
remind me to call mom at 6
wake me up at 7 tomorrow
set an alarm for 6:30
set a timer for ten minutes
turn on the kitchen lights
turn the heating down
turn off the tv
lower the volume
play some jazz
play the next song
skip this song
add milk to my shopping list
remove eggs from my grocery list
put the dentist on my calendar
post this to Twitter
deploy the app to production
restart the server
unlock the front door
Hi, please cancel my booking.
"""
PERSONAL = """
my order 123
where is order #10233?
what's the status of order 4512-88?
track shipment 1Z999AA10123456784
my account number is 00123456
booking reference X7K2P9
invoice no. 88812
write to bob@example.com
my phone is +49 170 1234567
call (555) 123-4567
my card is 4111 1111 1111 1111
my SSN is 078-05-1120
IBAN DE89 3704 0044 0532 0130 00
what's my balance?
what is my account balance
where is my package?
what's on my calendar today?
show me my shopping list
how much money do I have in my savings account?
"""
ORDINARY = """
How do I transfer money?
How do I send an email in Python?
what does it cost?
How do I cancel my subscription?
How can I delete my account?
What is the best way to book a flight?
How do I reset my password?
Why was my card declined?
When will my card arrive?
I lost my card, what should I do?
Is it safe to send money abroad?
Should I buy stocks?
How does bitcoin work?
What determines the price of gold?
What causes rain?
How is the exchange rate calculated?
Why is the weather getting warmer?
What is the average temperature in Rome in May?
What is the time complexity of quicksort?
How do I get the current time in Python?
How do I get the current date in JavaScript?
What is a stock price?
What is climate?
Write an email to my boss asking for a raise
Write a poem about my cat
Delete the first element of a list in Python
Remove duplicates from this text: a b a
Translate this sentence to French: good morning
Summarize the following article
What is the capital of France?
Tell me a joke
Explain recursion
Order these numbers from small to large: 3, 1, 2
Turn this paragraph into a poem
Play the role of a doctor
Play chess with me
Set x to 5 and solve for y
Call the function with two arguments
Buy or rent: which is better?
Book recommendations for beginners
Text classification with transformers
What is the order of operations?
Can you explain how to pay taxes?
Change the following sentence to passive voice
Close the parenthesis in this expression
Add comments to this code
Create a table with three columns
Update the variable inside a loop
Add an element to a list in Python
What is the status of women in medieval Europe?
Who won the world cup in 2014?
What is 2 + 2?
How many days are in a leap year?
What is a good score in chess?
How much does a Tesla Model 3 weigh?
What time zone is Tokyo in?
How long does shipping take?
What is the refund policy?
My dog ate chocolate, what should I do?
How do I write a cron job that runs every hour?
What does HTTP 404 mean?
What is the population of Japan?
How to open a bank account in Germany
What are the symptoms of flu?
Can I take ibuprofen with food?
Remind me how photosynthesis works
Pay attention to grammar and correct this
Sort the array 5, 3, 9
"""
OWN_WORDS = """
rephrase that
Can you rephrase my question?
please reword it
summarize what I said
what was my first question?
what did I just say?
What did I ask you before?
repeat my last message
translate that
shorten it please
as I said, I need it by Friday
what is my name?
do you remember what I told you?
say that again
again
correct my previous sentence
In this conversation, what have we discussed?
"""
NOT_OWN_WORDS = """
What does it cost?
And in winter?
How do I rephrase a sentence?
Translate "hello" into French
Who wrote it?
What is the first law of motion?
Why is that?
Is it treatable?
Tell me more about its history
What is the last word of the bible?
"""


def _lines(table: str) -> list[str]:
    return table.strip().splitlines()


@pytest.mark.parametrize("text", _lines(ACTION))
def test_an_order_is_an_action(text: str) -> None:
    assert exact_only(text, has_tools=True) is RouteReason.ACTION
    assert exact_only(text, has_tools=False) is RouteReason.ACTION


@pytest.mark.parametrize("text", _lines(PERSONAL))
def test_a_personal_identifier_or_account_is_personal(text: str) -> None:
    assert exact_only(text, has_tools=False) is RouteReason.PERSONAL


def test_a_volatile_question_is_routed_as_such() -> None:
    assert exact_only("What’s the weather in Berlin today?", has_tools=False) is RouteReason.VOLATILE


@pytest.mark.parametrize("text", _lines(ORDINARY))
def test_an_ordinary_question_may_be_answered_by_meaning(text: str) -> None:
    assert exact_only(text, has_tools=False) is None


@pytest.mark.parametrize(
    "text",
    ["close the ticket", "run the tests", "I want to book a room in Rome", "approve it", "I need to cancel my order"],
)
def test_tools_make_a_bare_order_or_a_wish_an_action(text: str) -> None:
    assert exact_only(text, has_tools=True) is RouteReason.ACTION
    assert exact_only(text, has_tools=False) is None


@pytest.mark.parametrize("text", _lines(OWN_WORDS))
def test_a_turn_about_ones_own_words_is_recognised(text: str) -> None:
    assert refers_to_own_words(text)


@pytest.mark.parametrize("text", _lines(NOT_OWN_WORDS))
def test_an_ordinary_follow_up_is_not_about_ones_own_words(text: str) -> None:
    assert not refers_to_own_words(text)


def test_the_tables_are_large_enough_to_mean_something() -> None:
    assert len(_lines(ACTION + PERSONAL)) >= 60
    assert len(_lines(ORDINARY)) >= 60


LANGUAGE = """
Can you speak Chinese?
do you speak french
Is it possible for you to speak in Chinese?
Could you please answer me in Chinese for the following question?
Do you have the ability to understand and communicate in Chinese?
Please reply in German from now on.
Can I answer the question in Chinese?
ok, please answer only in Spanish
"""
NO_LANGUAGE = """
How do you say thank you in Chinese?
Can you write a poem in French?
Which languages can you speak?
Should I speak English at a job interview in Germany?
How can I speak French fluently in a year?
Do you know how many people speak Chinese?
Please answer this question: when did the French revolution begin?
Can Germans understand Dutch?
What does it take to speak Japanese well?
"""


@pytest.mark.parametrize("text", LANGUAGE.strip().splitlines())
def test_the_language_to_go_on_in_is_no_question(text: str) -> None:
    assert exact_only(text, has_tools=False) is RouteReason.LANGUAGE


@pytest.mark.parametrize("text", NO_LANGUAGE.strip().splitlines())
def test_questions_about_languages_are_ordinary(text: str) -> None:
    assert exact_only(text, has_tools=False) is None
