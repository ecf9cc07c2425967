"""Which questions are never answered by meaning: those that act, those whose answer changes by the hour, those about one person, and those
that ask for no answer but for another way to talk.

Asked before the lookup; each still has the exact tier. Intent decides, not words: "How do I transfer money?" is a question like
any other, "transfer 50 € to Bob" is an order. So a question that asks how, why or what is never an action, and an order
is one only with an object that someone could act on ("delete my account", not "delete the first line").
"""

from __future__ import annotations

import re
from enum import StrEnum

from proxy.core.actions import acts
from proxy.core.patterns import any_of as _any
from proxy.core.volatile import is_volatile

# A longer text is not matched by meaning at all (the embedder reads some 256 tokens), so what comes after this does not matter; the bound
# keeps the patterns below quick on any input.
_READ_CHARS = 2000


class RouteReason(StrEnum):
    """Why a question goes to the exact tier only."""

    ACTION = "action"
    VOLATILE = "volatile"
    PERSONAL = "personal"
    LANGUAGE = "reply-language"


def exact_only(text: str, *, has_tools: bool) -> RouteReason | None:
    """Why this question may only be answered from an exact repeat; None for an ordinary one.

    Args:
        text: the last user turn.
        has_tools: whether the request offers tools, with which an order would be carried out; then a bare order ("restart the
            server") or a wish ("I want to book a room") is enough.
    """
    text = text[:_READ_CHARS]
    if _PERSONAL.search(text):
        return RouteReason.PERSONAL
    plain = " ".join(text.lower().replace("’", "'").split())
    if _MY_STATE.search(plain):
        return RouteReason.PERSONAL
    if any(acts(sentence, has_tools=has_tools) for sentence in _SENTENCES.split(plain)):
        return RouteReason.ACTION
    if _REPLY_LANGUAGE.match(plain):
        return RouteReason.LANGUAGE
    return RouteReason.VOLATILE if is_volatile(plain) else None


def refers_to_own_words(text: str) -> bool:
    """Whether a turn is about what the user said or was just told ("rephrase that", "my first question").

    Such a turn is answered from the very words of the conversation, so it never shares one with other wordings.
    """
    return _OWN_WORDS.search(" ".join(text[:_READ_CHARS].lower().replace("’", "'").split())) is not None


_SENTENCES = re.compile(r"(?<=[.!?;])\s+|\n")

# --- personal: an identifier of one person or of one person's affair ---

_PERSONAL = _any(
    r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,64}\.[a-z]{2,}",  # e-mail address
    r"\+\d[\d ().-]{7,}\d",  # international telephone number
    r"(?<![\d.-])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\d-])",  # telephone number as written in North America
    r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)",  # social security number
    r"(?<![\d.])(?:\d[ -]?){12,18}\d(?![\d.])",  # card number
    r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,}",  # IBAN
    r"(?i:\b(?:order|purchase|account|acct|invoice|booking|reservation|ticket|tracking|shipment|case|"
    r"policy|customer|member(?:ship)?|"
    r"patient|claim|reference|ref|confirmation|passport|licen[cs]e|employee|transaction|user)"
    r"(?: (?:number|no\.?|nr\.?|num|id|code|is))*[ :#]*#?(?=[a-z-]*\d)[a-z\d-]{3,}\b)",
    r"#\d{4,}\b",
)  # fmt: skip
_MY_THINGS = (
    r"(?:(?:bank|checking|savings|current|account|card|credit card|pto|vacation|available|remaining|"
    r"total|gift card|401k) )*"
    r"(?:balance|credit score|credit limit|bill|paycheck|payslip|salary|schedule|calendar|agenda|"
    r"appointments?|meetings?|reminders?|"
    r"alarms?|to-?do list|shopping list|grocery list|inbox|order status|orders?|parcel|package|shipment|transactions?|"
    r"purchases|pto|vacation days|location|ip(?: address)?)"
)  # fmt: skip
_MY_STATE = _any(
    rf"\b(?:what|how much|how high|how big)(?:'s| is| are| was| were) (?:on )?my (?:current |latest |"
    rf"last |next |upcoming )?{_MY_THINGS}\b(?! (?:worth it|so|mean))",
    r"\bwhere(?:'s| is| are) my (?:order|package|parcel|shipment|delivery|refund|paycheck|phone|luggage)s?\b",
    rf"^(?:please )?(?:can you |could you )?(?:show|tell|give|check|read|list|look up)(?: me|"
    rf" out)? (?:what is |what's |all )?my "
    rf"(?:current |latest |last |next |upcoming )?{_MY_THINGS}\b",
    r"\bhow much (?:money )?(?:do i have|is there) (?:left |available )?(?:in|on) my\b",
    r"\b(?:when|what time)(?:'s| is) my (?:next |upcoming )?(?:\w+ )?(?:appointment|meeting|flight|"
    r"payment due|bill due|payday|interview)\b",
    r"\bhow (?:many|much) (?:pto|vacation|sick) (?:days|hours|time )?\b.*\bi (?:have|got)\b",
)  # fmt: skip

# --- the language to go on in: about this conversation, and "do you speak" may be a question or a wish ---

_LANGUAGES = (
    r"(?:english|chinese|mandarin|cantonese|japanese|korean|spanish|portuguese|french|german|italian|dutch|russian|ukrainian|polish|"
    r"czech|greek|turkish|arabic|hebrew|persian|farsi|hindi|urdu|bengali|tamil|thai|vietnamese|indonesian|malay|swedish|norwegian|danish|"
    r"finnish|hungarian|romanian|swahili)"
)
_REPLY_LANGUAGE = _any(
    r"^(?:(?:please|ok|okay|now|and|so|hi|hello|hey|just|then|from now on)[, ]+)*"
    r"(?:(?:can|could|will|would|do|may|should) (?:you|i|we) |(?:is it possible(?: for you)?|are you able|do you have the ability) to |"
    r"i(?: want|'d like| would like) you to )?(?:(?:please|also|only|know how to|understand and|be able to) )*"
    r"(?:speak|talk|answer|reply|respond|communicate|converse|chat|write)"
    r"(?: (?:to|with|me|us|back|only|always|it|this|that|everything|please|the|my|all|next|following|questions?))*(?: in| using)?"
    rf" {_LANGUAGES}(?: (?:please|instead|only|language|from now on)){{0,3}}(?: for (?:the|this|my|all) [\w ]{{1,40}})?\W*$"
)

# --- the user's own words ---

_THAT = (
    r"(?:that|this|it|my (?:\w+ )?(?:question|message|sentence|prompt|request|text|words)|the above|"
    r"the last (?:one|answer|part|message|sentence)|the previous (?:one|answer|message)|what (?:i|"
    r"you) (?:just )?\w+|your (?:last |previous )?(?:answer|reply|response))"
)
_OWN_WORDS = _any(
    rf"^(?:(?:ok|okay|please|now|and|so|can you|could you|would you|will you|just)[, ]+)*(?:rephrase|"
    rf"reword|repeat|summari[sz]e|shorten|translate|"
    rf"rewrite|re-write|paraphrase|simplify|restate|proofread|correct|undo|redo|polish)(?: {_THAT}|"
    rf" for me| again| please|\s*[.!?]?$)",
    r"\bmy (?:very )?(?:first|last|previous|earlier|original|initial|second|third|prior|latest|recent|own) (?:\w+ )?"
    r"(?:questions?|messages?|sentences?|prompts?|requests?|words?|ones?|points?|texts?|paragraphs?|"
    r"query|queries|statements?|comments?)\b",
    r"\bwhat (?:did|do|was|were|have|had) i (?:just |previously |originally |first |earlier )?(?:say|"
    r"said|ask|asked|asking|write|wrote|written|tell|told|"
    r"mention|mentioned|type|typed|mean|request|requested|call|called)\b",
    r"\b(?:what|which|as|like|the \w+) i(?:'ve| have)? (?:just |previously |already |first |"
    r"originally )?(?:said|asked|wrote|told you|mentioned|typed|requested|described|explained|gave you|"
    r"pasted|sent)\b",
    r"\bi (?:just |already |previously )?(?:said|told you|mentioned|asked you|meant)\b",
    r"\b(?:do|can|did) you (?:still )?(?:remember|recall)\b",
    r"\b(?:what(?:'s| is)|tell me|say|guess|spell) my (?:\w+ )?name\b|\bwho am i\b|\bhow old am i\b|"
    r"\bwhere do i live\b",
    r"\b(?:say|ask|read|tell me|put|phrase) (?:that|it|this) (?:again|back|differently|another way|"
    r"in other words|more \w+)\b|^(?:again|once more|in other words)\W*$",
    r"\b(?:earlier|previously) (?:in (?:this|our) (?:chat|conversation)|i \w+|you \w+)\b|\b(?:this|"
    r"our) (?:chat|conversation|discussion)(?: so far)?\b",
)  # fmt: skip
