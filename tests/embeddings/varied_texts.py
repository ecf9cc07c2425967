"""The 200 texts of the parity test: fixed by seed, made here, so that only the reference numbers need keeping.

Short, long, empty, over the model's limit; prose, code, numbers, identifiers, other scripts, emoji, stray bytes.
"""

from __future__ import annotations

import random

COUNT = 200

_FIXED = (
    "",
    " ",
    "?",
    "a",
    "42",
    "ok",
    "Hello!",
    "\n\n\t",
    "...",
    "3.14159",
    "2024-02-29T12:30:00Z",
    "+49 (0)30 1234-567",
    "€1,299.00 incl. 19% VAT",
    "https://example.com/a/b?c=d&e=f#g",
    "user@example.org",
    "550e8400-e29b-41d4-a716-446655440000",
    "def add(a: int, b: int) -> int:\n    return a + b",
    "SELECT name, COUNT(*) FROM orders WHERE total > 100 GROUP BY name;",
    "for (let i = 0; i < 10; i++) { console.log(i); }",
    '{"role": "user", "content": "hi", "n": [1, 2, 3]}',
    "<div class='box'><p>Text &amp; more</p></div>",
    "git rebase -i HEAD~3 && git push --force-with-lease",
    "Traceback (most recent call last): ZeroDivisionError: division by zero",
    "Wie komme ich zum Hauptbahnhof?",
    "¿Cuánto cuesta un billete de ida y vuelta?",
    "Où est la bibliothèque, s'il vous plaît ?",
    "Où est la bibliothèque, s'il vous plaît ?".replace("è", "e\u0300"),
    "Как приготовить борщ?",
    "東京の天気はどうですか",
    "北京今天的天气怎么样？",
    "서울의 날씨는 어때요?",
    "ما هي عاصمة مصر؟",
    "मुझे मदद चाहिए",
    "Ποια είναι η πρωτεύουσα της Ελλάδας;",
    "İstanbul'da hava nasıl? ÇĞÖŞÜ",
    "naïve café résumé coöperate",
    "I ❤️ pizza 🍕🍕🍕 and 👨‍👩‍👧‍👦!",
    "zero\u200bwidth\u200bspaces and a \ufeff mark",
    "tab\tseparated\tvalues\r\nwith\x00control\x07bytes",
    "UPPER lower MiXeD cAsE",
    "[MASK] [SEP] [CLS] are words here, not tokens",
    "pneumonoultramicroscopicsilicovolcanoconiosis",
    "x" * 99,
    "y" * 300,
    "no-spaces-" * 40,
    "word " * 300,
    "1 " * 200,
    "! " * 150,
)
_VERBS = (
    "open",
    "close",
    "move",
    "copy",
    "delete",
    "rename",
    "compare",
    "explain",
    "translate",
    "summarise",
    "book",
    "cancel",
    "repair",
    "measure",
)
_NOUNS = (
    "account",
    "invoice",
    "ticket",
    "flight",
    "router",
    "garden",
    "recipe",
    "contract",
    "engine",
    "server",
    "bicycle",
    "database",
    "telescope",
    "river",
    "library",
    "vaccine",
    "bridge",
    "budget",
    "calendar",
    "kitchen",
    "novel",
    "planet",
    "camera",
    "passport",
)
_PLACES = ("Berlin", "Lagos", "Lima", "Osaka", "Toronto", "Perth", "Oslo", "Cairo", "Austin", "Hanoi")
_TEMPLATES = (
    "How do I {v} my {n}?",
    "Please {v} the {n} from {p} to {q} before {d} May {y}.",
    "What is the difference between a {n} and a {m}?",
    "I did not {v} the {n}; why was I charged {k} euros?",
    "Give me {d} reasons to {v} a {n} in {p}.",
    "{n} {m} {p} {k}",
    "Write a short story about a {n}, a {m} and the city of {p}.",
    "Is it true that {p} has more than {k} {n}s per {m}?",
)


def varied_texts() -> list[str]:
    """The texts, always the same and in the same order."""
    rng = random.Random(20240229)
    texts = list(_FIXED)
    while len(texts) < COUNT:
        # One in eight is long; of these some are longer than 256 tokens.
        sentences = rng.choice((6, 12, 30)) if len(texts) % 8 == 0 else rng.choice((1, 1, 1, 2))
        texts.append(" ".join(_sentence(rng) for _ in range(sentences)))
    return texts


def _sentence(rng: random.Random) -> str:
    return rng.choice(_TEMPLATES).format(
        v=rng.choice(_VERBS),
        n=rng.choice(_NOUNS),
        m=rng.choice(_NOUNS),
        p=rng.choice(_PLACES),
        q=rng.choice(_PLACES),
        d=rng.randint(2, 28),
        y=rng.randint(1990, 2030),
        k=rng.randint(10, 9999),
    )
