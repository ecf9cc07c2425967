"""The acceptance table: pairs that must never share an answer, and rewordings that no gate may refuse."""

from __future__ import annotations

import pytest

from proxy.core.gates import refusal

NEVER = """
numbers
How do I make pancakes for 4 people? | How do I make pancakes for 6 people?
What is 15% of 200? | What is 18% of 200?
What is 2 + 2? | What is 2 + 3?
What is 12 * 7? | What is 12 + 7?
What is 9 - 4? | What is 9 / 4?
Give me three ideas for a birthday party | Give me five ideas for a birthday party
Can I retire at 55? | Can I retire at 65?
How many calories are in two eggs? | How many calories are in three eggs?
Is 1,000 mg of vitamin C too much? | Is 100 mg of vitamin C too much?
How long is a 10k run? | How long is a 5k run?
What is the square root of 144? | What is the square root of 1.44?
What can I buy with $50? | What can I buy with $500?
How do I invest 10 thousand dollars? | How do I invest 10 million dollars?
Swap 5 apples for 3 pears | Swap 3 apples for 5 pears
What does HTTP error 404 mean? | What does HTTP error 403 mean?
How do I solve x^2 = 4? | How do I solve x^3 = 4?
What is the 2nd law of thermodynamics? | What is the 3rd law of thermodynamics?
Who was the first man on the moon? | Who was the second man on the moon?
years and dates
Who won the world cup in 2014? | Who won the world cup in 2018?
What happened in 1989? | What happened in 1898?
What is the weather like in Rome in May? | What is the weather like in Rome in June?
Is the library open on Monday? | Is the library open on Sunday?
What happened on 3 May 2020? | What happened on 5 March 2020?
Who was president in the 1980s? | Who was president in the 1990s?
What are the tax brackets for 2023? | What are the tax brackets for 2024?
What is due on 2024-01-05? | What is due on 2024-05-01?
Can we meet at 10:30? | Can we meet at 10:45?
units and currencies
How do I lose 5 kg? | How do I lose 5 pounds?
How many miles is 10 km? | How many meters is 10 km?
Is 100 degrees celsius hot? | Is 100 degrees fahrenheit hot?
What does 20 euros buy in Rome? | What does 20 dollars buy in Rome?
How much is 100 ml in ounces? | How much is 100 ml in cups?
versions
How do I install Python 3.11? | How do I install Python 3.12?
What is new in Python 3.1? | What is new in Python 3.10?
How do I migrate from Angular 1 to Angular 2? | How do I migrate from Angular 2 to Angular 1?
What changed in v2.0.1? | What changed in v2.1.0?
Does iOS 16 support this? | Does iOS 17 support this?
How do I install Ubuntu 20.04? | How do I install Ubuntu 22.04?
Is the iPhone 13 waterproof? | Is the iPhone 14 waterproof?
What is the difference between GPT-3 and BERT? | What is the difference between GPT-4 and BERT?
identifiers
Where is order A-10233? | Where is order A-10234?
What does os.path.join do? | What does os.path.split do?
How do I use read_csv? | How do I use read_json?
What is in /etc/passwd? | What is in /etc/hosts?
Summarise https://example.com/a | Summarise https://example.com/b
Who owns bob@example.com? | Who owns rob@example.com?
What does getUserName return? | What does setUserName return?
Explain `a == b` | Explain `a = b`
What does "carpe diem" mean? | What does "carpe noctem" mean?
How do I learn C++? | How do I learn C?
How do I learn C#? | How do I learn C++?
What does the 😂 emoji mean? | What does the 😭 emoji mean?
names
What is the capital of France? | What is the capital of Spain?
weather in berlin | weather in madrid
best restaurants in lisbon | best restaurants in porto
Who is Marie Curie? | Who is Pierre Curie?
Is Dr. Smith a good dentist? | Is Dr. Jones a good dentist?
how tall is the eiffel tower | how tall is the shard tower
What is the population of Austria? | What is the population of Australia?
how old is tom hanks | how old is tom cruise
Is Iran safe for tourists? | Is Iraq safe for tourists?
how do i sort a list in python | how do i sort a list in java
How do I install Docker on Ubuntu? | How do I install Docker on Debian?
What is the stock symbol of Apple? | What is the stock symbol of Amazon?
How do I say hello in French? | How do I say hello in Spanish?
Translate this to German | Translate this to Polish
How do I contact PayPal support? | How do I contact Stripe support?
Can I take ibuprofen while pregnant? | Can I take aspirin while pregnant?
what are the side effects of metformin | what are the side effects of lisinopril
how to cook salmon | how to cook trout
Can my dog eat grapes? | Can my dog eat bananas?
Can my dog eat grapes? | Can my cat eat grapes?
How do I join two tables in MySQL? | How do I join two tables in PostgreSQL?
Write a poem about autumn | Write a poem about spring
How do I remove coffee stains? | How do I remove wine stains?
What causes a fever in adults? | What causes a fever in children?
negation
Should I eat before a blood test? | Should I not eat before a blood test?
Is it safe to drink coffee while pregnant? | Is it not safe to drink coffee while pregnant?
Why is my code working? | Why isn't my code working?
How do I travel with a passport? | How do I travel without a passport?
What foods can diabetics eat? | What foods can't diabetics eat?
Which countries have a king? | Which countries have no king?
All months except February | All months including February
Is he always late? | Is he never late?
Who can vote? | Who cannot vote?
What should I do at an interview? | What should I never do at an interview?
opposites
How do I enable two-factor authentication? | How do I disable two-factor authentication?
How do I turn on dark mode? | How do I turn off dark mode?
How do I turn the notifications on? | How do I turn the notifications off?
How do I open an account? | How do I close an account?
How do I increase the font size? | How do I decrease the font size?
When should I buy stocks? | When should I sell stocks?
How do I encrypt a file? | How do I decrypt a file?
How do I import a CSV? | How do I export a CSV?
How do I install numpy? | How do I uninstall numpy?
How do I lock my phone? | How do I unlock my phone?
What is the maximum dose? | What is the minimum dose?
What are the advantages of nuclear power? | What are the disadvantages of nuclear power?
Is downloading movies legal? | Is downloading movies illegal?
How do I become more patient? | How do I become less patient?
What are the symptoms of hypothyroidism? | What are the symptoms of hyperthyroidism?
Sort the list in ascending order | Sort the list in descending order
Which is the best bank? | Which is the worst bank?
How do I upload a file? | How do I download a file?
How do I subscribe? | How do I unsubscribe?
How do I gain weight? | How do I lose weight?
What is a mutable object? | What is an immutable object?
What does it mean to be an introvert? | What does it mean to be an extrovert?
direction and roles
How far is it by train from Paris to London? | How far is it by train from London to Paris?
What is the distance from Paris to London? | What is the distance from London to Paris?
Are there flights from Paris to London? | Are there flights from London to Paris?
Convert 100 USD to EUR | Convert 100 EUR to USD
Does a lion eat a tiger? | Does a tiger eat a lion?
Can a dog bite a man? | Can a man bite a dog?
Did Germany invade Poland? | Did Poland invade Germany?
Does Thomas like Emma? | Is Thomas liked by Emma?
How do I convert JSON to YAML? | How do I convert YAML to JSON?
Should I shower before running? | Should I shower after running?
What is the effect of sleep on stress? | What is the effect of stress on sleep?
How do I fly to Rome? | How do I fly from Rome?
Translate "Hund" from German to English | Translate "Hund" from English to German
Is Python faster than Java? | Is Java faster than Python?
What is the weather under the bridge? | What is the weather over the bridge?
Who is the wife of the king's brother? | Who is the brother of the king's wife?
quantifiers
List all the files in a folder | List some files in a folder
What are the most common mistakes? | What are the least common mistakes?
Do all birds fly? | Do most birds fly?
Who was the last emperor of Rome? | Who was the first emperor of Rome?
What is the largest planet? | What is the smallest planet?
Is Ana a nurse or a teacher? | Is Ana a nurse and a teacher?
Is it open every day? | Is it open only one day?
Which plan has at least two users? | Which plan has at most two users?
What is a credit card? | What is the best credit card?
focus
Who invented the telephone? | When was the telephone invented?
Where was Mozart born? | When was Mozart born?
How does a vaccine work? | Why does a vaccine work?
How many people live in Rome? | Which people live in Rome?
How much water should I drink? | When should I drink water?
How long is the Nile? | How old is the Nile?
How do plants eat? | What do plants eat?
Does aspirin work? | How does aspirin work?
Can I take aspirin? | Should I take aspirin?
Who is the CEO of Microsoft? | Who was the CEO of Microsoft?
Is he a lawyer? | Did he use to be a lawyer?
Will it be safe? | Is it safe?
whose matter it is
What is my name? | What is your name?
Can you swim? | Can I swim?
What is your favourite colour? | What is my favourite colour?
Is his family happy? | Is her family happy?
languages
¿Cómo puedo cambiar mi contraseña? | ¿Cómo puedo borrar mi contraseña?
Wie ist das Wetter in Berlin? | Wie ist das Wetter in Hamburg?
Quelle est la capitale de la France ? | What is the capital of France?
Как установить Python? | Как удалить Python?
東京の人口は? | 大阪の人口は?
pronouns and things that changed places
A table for 4 children and 2 adults | A table for 4 adults and 2 children
What should I call you? | What should you call me?
Can you answer me in Chinese? | Can I answer you in Chinese?
Can I call you tomorrow? | Can you call me tomorrow?
How do I call you? | How do you call me?
How many vacation days have I used? | How many vacation days can I use?
How do I change the gold account? | How do I change to the gold account?
extra facts
I'm writing to my wife: suggest a gift | Suggest a gift
What is a good dinner? | What is a good dinner for a diabetic?
How do I lose weight? | How do I lose weight after pregnancy?
How do I learn piano? | How do I learn piano as an adult?
best laptop for students | best gaming laptop for students
What is the treatment for asthma? | What is the treatment for childhood asthma?
How do I get a visa for Japan? | How do I get a business visa for Japan?
How does SpaceX generate revenue? | How does SpaceX generate revenue in the short term?
what a word modifies
What is a sort function in Python? | What is a function in Python?
What is a type error in Python? | What is an error in Python?
What are the types of clouds? | What are clouds?
What is a guide dog? | What is a dog?
What is information technology? | What is technology?
What is a help desk? | What is a desk?
What is a trick question? | What is a question?
What is a wish list? | What is a list?
What is the difference between stocks and bonds? | What are stocks and bonds?
What are the requirements for a mortgage? | What is a mortgage?
Write a letter | Write a recommendation letter
Write a guide to Rome | Write an overview of Rome
What is vitamin a? | What is a vitamin?
What is hepatitis A? | What is hepatitis?
What is the difference between a neutrino and an electron neutrino? | What is the difference between an electron and electron neutrino?
How do I say hello in French? | How do I say thanks in French?
Can you translate this to French? | How do I say hello in French?
Is Ana a friend? | Is Ana an actual friend?
"""

SAME = """
What is the capital of France? | What's France's capital city?
What is the capital of France? | Tell me the capital of France
What is the capital of France? | what is the capital of france
What is the capital of France? | Which city is the capital of France?
What is the capital of France? | Can you tell me what the capital of France is?
What is the capital of France? | capital of France?
How do I reset my password? | How can I reset my password?
How do I reset my password? | What is the best way to reset my password?
How do I reset my password? | How to reset my password
How do I reset my password? | What are the steps to reset a password?
How do I reset my password? | I want to reset my password
How do I reset my password? | What is the procedure for resetting my password?
How do I reset my password? | Is there a way to reset my password?
How do I reset my password? | Could you tell me how to reset my password?
How do I sort a list in Python? | In Python how do I sort a list
How do I sort a list in Python? | How can I sort a Python list?
How do I sort a list in Python? | What's the best way to sort a list in Python?
How do I sort a list in Python? | Sorting a list in Python: how?
How do I reverse a string in JavaScript? | How to reverse a string in JS?
How do I convert a string to an int in Java? | In Java, how can I convert a string to an integer?
What is recursion? | Explain recursion
What is recursion? | Can you explain what recursion is?
What is recursion? | What does recursion mean?
What is photosynthesis? | Define photosynthesis
How does photosynthesis work? | Can you explain how photosynthesis works?
How does photosynthesis work? | Explain how photosynthesis works.
How many planets are in the solar system? | What is the number of planets in the solar system?
How many planets are there in the solar system? | How many planets are in our solar system?
Who wrote Romeo and Juliet? | Who is the author of Romeo and Juliet?
Who invented the telephone? | Who was the inventor of the telephone?
When did World War II end? | In what year did World War 2 end?
When did World War II end? | When did the second world war end?
When does the store open? | What time does the store open?
How tall is the Eiffel Tower? | What is the height of the Eiffel Tower?
How old is the universe? | What is the age of the universe?
How big is the sun? | What is the size of the sun?
What is the boiling point of water? | What's water's boiling point?
What is the population of Japan? | What's Japan's population?
What is the price of a Tesla Model 3? | How much does a Tesla Model 3 cost?
Why is the sky blue? | What is the reason the sky is blue?
Why is the sky blue? | How come the sky is blue?
Why is the sky blue? | What makes the sky blue?
Why do cats purr? | What is the reason that cats purr?
How do I lose weight? | What is the best way to lose weight?
How do I lose weight? | How can someone lose weight?
How do I lose weight? | What are some ways to lose weight?
How can I learn English quickly? | How do I learn English fast?
How do I learn to play guitar? | What's the best way to learn guitar?
How do I buy a house? | How do I purchase a house?
How do I start a company? | How do you start a business?
How do I get rid of ants? | How can I remove ants?
How do I get rid of a headache? | How do you get rid of headaches?
What are good books about history? | What are some of the best history books?
What are the best places to visit in Rome? | What are some good places to visit in Rome?
Which is the best laptop for students? | What is the best laptop for students?
What is the difference between TCP and UDP? | What are the differences between UDP and TCP?
What are the side effects of aspirin? | What side effects does aspirin have?
What are the symptoms of diabetes? | What are diabetes symptoms?
Can I take ibuprofen with food? | Is it possible to take ibuprofen with food?
Is it OK to drink coffee while pregnant? | Is it okay to drink coffee when pregnant?
How do I cancel my subscription? | How can I cancel the subscription?
How do I cancel my subscription? | What do I need to do to cancel my subscription?
How do I cancel my subscription? | I'd like to cancel my subscription
How do I track my order? | How can I track an order?
How do I delete my account? | What's the way to delete my account?
How long does delivery take? | How much time does the delivery take?
How do I contact support? | How can I contact customer support?
How can I update my billing address? | How do I change my billing address?
What payment methods do you accept? | Which payment methods do you accept?
How do I return an item? | How can I return items?
How do I center a div in CSS? | How can I centre a div using CSS?
How do I undo the last commit in git? | In git, how can I undo the last commit?
How do I list files in a directory in Linux? | How can I list the files in a directory on Linux?
How do I install numpy? | How do you install numpy?
How do I read a file in Python? | How to read files in Python?
What does the map function do in JavaScript? | What does JavaScript's map function do?
What is machine learning? | What is ML?
What is artificial intelligence? | What's AI?
Who is the president of the United States? | Who is the US president?
Who is the president of the USA? | Who's the president of the U.S.?
How do I convert 10 kilometers to miles? | How do I convert 10 km to miles?
What is fifty percent of 80? | What is 50% of 80?
What is 1,000 divided by two? | What is 1000 divided by 2?
What can I cook with eggs and rice? | What can I cook with rice and eggs?
How do I boil an egg? | What is the best way to boil eggs?
Do I need a visa for Japan? | Do you need a visa for Japan?
Where can I buy stamps? | Where can you buy stamps?
How do I write a cover letter? | How should I write a cover letter?
How can I improve my English? | How do I improve my English?
How do I make money online? | How can I earn money online?
How do I save money? | What are some tips for saving money?
What are the benefits of meditation? | What are the advantages of meditation?
What are the advantages of solar energy? | What are solar energy's advantages?
Does coffee raise blood pressure? | Does coffee increase blood pressure?
When is Easter in 2025? | When is Easter 2025?
How can I stop smoking? | How do I quit smoking?
Please explain quantum computing | What is quantum computing?
Tell me a joke | Tell me a joke please
Hi, what is the capital of Peru? | What is the capital of Peru?
How much does shipping cost? | What does shipping cost?
How much does shipping cost? | What are the shipping costs?
What is the largest planet in the solar system? | Which planet is the largest in the solar system?
Who wrote Romeo and Juliet? | Who was Romeo and Juliet written by?
What time zone is Tokyo in? | Which time zone is Tokyo in?
How do I reset my password? | How should I go about resetting my password?
Write a haiku about autumn | Compose a haiku about autumn
What's the difference between HTTP and HTTPS? | How do HTTP and HTTPS differ?
What is machine learning? | Can you define machine learning?
What payment methods do you accept? | What forms of payment do you accept?
What is your refund policy? | What's the refund policy?
What are the symptoms of the flu? | What symptoms does the flu cause?
Why is the sky blue? | Why does the sky look blue?
Explain the theory of relativity in simple terms | Explain relativity theory simply
How many minutes will that take? | How many minutes is that going to take?
Do you ship internationally? | Do you offer international shipping?
How do I undo the last git commit? | How to revert the last commit in git?
How do I make pancakes? | What is a recipe for pancakes?
What is the population of Germany? | How many people live in Germany?
How far is the Moon from Earth? | What is the distance between Earth and the Moon?
What is the capital of France? | Name the capital of France.
How can I improve my writing skills? | How do I get better at writing?
"""


def _pairs(table: str) -> list[object]:
    """Each line with a bar is a pair; one without opens a section, which names the cases."""
    cases: list[object] = []
    section = ""
    for line in table.strip().splitlines():
        if "|" in line:
            one, other = line.split(" | ")
            cases.append(pytest.param(one, other, id=f"{section} {one} / {other}".strip()))
        else:
            section = f"[{line}]"
    return cases


@pytest.mark.parametrize(("one", "other"), _pairs(NEVER))
def test_two_questions_never_share_an_answer(one: str, other: str) -> None:
    assert refusal(one, other) is not None
    assert refusal(other, one) is not None


@pytest.mark.parametrize(("one", "other"), _pairs(SAME))
def test_a_rewording_is_not_refused(one: str, other: str) -> None:
    assert refusal(one, other) is None
    assert refusal(other, one) is None


def test_the_table_is_large_enough_to_mean_something() -> None:
    assert len(_pairs(NEVER)) >= 120
    assert len(_pairs(SAME)) >= 80
