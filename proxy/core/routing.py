"""Which questions are never answered by meaning: those that act, those whose answer changes by the hour, those about one person.

Asked before the lookup; each still has the exact tier. Intent decides, not words: "How do I transfer money?" is a question like
any other, "transfer 50 € to Bob" is an order. So a question that asks how, why or what is never an action, and an order
is one only with an object that someone could act on ("delete my account", not "delete the first line").
"""

from __future__ import annotations

import re
from enum import StrEnum

# A longer text is not matched by meaning at all (the embedder reads some 256 tokens), so what comes after this does not matter; the bound
# keeps the patterns below quick on any input.
_READ_CHARS = 2000


class RouteReason(StrEnum):
    """Why a question goes to the exact tier only."""

    ACTION = "action"
    VOLATILE = "volatile"
    PERSONAL = "personal"


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
    if any(_acts(sentence, has_tools=has_tools) for sentence in _SENTENCES.split(plain)):
        return RouteReason.ACTION
    return RouteReason.VOLATILE if _VOLATILE.search(plain) and not _TIMELESS.search(plain) else None


def refers_to_own_words(text: str) -> bool:
    """Whether a turn is about what the user said or was just told ("rephrase that", "my first question").

    Such a turn is answered from the very words of the conversation, so it never shares one with other wordings.
    """
    return _OWN_WORDS.search(" ".join(text[:_READ_CHARS].lower().replace("’", "'").split())) is not None


def _any(*patterns: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), flags)


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

# --- action: an order to do something in the world ---

_ASKS = re.compile(
    r"^(?:\W|and |so |but )*(?:how|what|why|when|where|who|which|is|are|does|do|did|should|if|explain|"
    r"describe|define)\b"
)
_LEAD = re.compile(
    r"^(?:(?:hey|hi|hello|ok|okay|so|and|now|then|please|kindly|pls|just|go ahead and|for me|thanks|"
    r"alexa|siri|assistant)[, ]+)*"
    r"(?:(?:can|could|would|will) you (?:please |kindly |maybe |just |go ahead and )*"
    r"|i(?:'d| would) (?:like|want) you to |i (?:want|need) you to |you (?:need to|must|should) |let's |"
    r"make sure (?:to|you) |be sure to )?"
    r"(?:please |kindly |just )*"
)  # fmt: skip
_WISH = re.compile(
    r"^(?:hi[, ]+|hello[, ]+)?(?:i(?:'d| would) like to|i (?:want|need|wish|have) to|i wanna|"
    r"i'm trying to|help me(?: to)?) "
)
_WHOM = r"(?:me|us|him|her|them|my|our|mom|dad|mum|everyone|everybody|the team|the \w+ team|the boss|all)\b"
_NAMED = (
    rf"(?:{_WHOM}|(?!to |is |are |was |message |messages |file |files |editor |from |the |a |an |this |"
    rf"that |in |with |of |for )[a-z]+ (?:a |an |the |that |saying |to |and |my |\d|[$€£]|i'))"
)
_SUM = r"(?:[$€£]\s?\d[\d,.]*|\d[\d,.]*\s?(?:[$€£]|k\b|bucks|dollars?|euros?|pounds?|usd|eur|gbp|rupees?|btc|eth))"
_BOOKED = (
    r"(?:table|flights?|room|rooms|hotel|tickets?|seats?|taxi|cab|uber|ride|car|rental|appointment|"
    r"reservation|trip|meeting|train|bus|"
    r"stay|cruise|tour|slot|session|haircut|massage|airbnb|restaurant|dinner|lunch|visit|viewing|court|call|interview)"
)  # fmt: skip
_OWNED = (
    r"(?:(?:my|our|his|her|their|the user's|all my|both my)\b(?! (?:list|array|string|function|code|"
    r"text|sentence|essay|paragraph|email draft|"
    r"resume|cv|poem|story|data|regex|query|file|class|loop|sql|script|html|css|json|variable|equation|"
    r"answer|understanding|mind))"
    r"|(?:this|that|the|an?) (?:\w+ )?(?:order|subscription|reservation|booking|appointment|meeting|"
    r"event|alarm|timer|reminder|account|"
    r"payment|transfer|membership|flight|card|purchase)\b|order\b|subscription\b|account\b)"
)  # fmt: skip
_DEVICE = (
    r"(?:lights?|lamps?|tv|television|radio|heat(?:er|ing)?|ac|a/c|air con\w*|fan|thermostat|volume|"
    r"music|oven|alarm|camera|wifi|wi-fi|"
    r"bluetooth|flashlight|location|notifications?|sprinklers?|vacuum|brightness|door|garage|blinds)"
)  # fmt: skip
_ORDER = _any(
    rf"(?:send|forward|mail) (?:{_NAMED}|{_SUM}|(?:an?|the|this|that|it|some|another|out)\b.*\bto (?!send|be\b))",
    rf"(?:email|text|message|dm|whatsapp|notify|inform|invite|ping) {_NAMED}",
    r"(?:call|phone|ring|dial) (?:(?:my|mom|dad|mum|him|her|them|the (?:police|doctor|bank|restaurant|"
    r"office|hotel)|\d|\+)"
    r"|me (?:a|an) (?:taxi|cab|uber|ride)|(?:a|an) (?:taxi|cab|uber|ambulance))",
    rf"(?:book|reserve)(?: me| us)?(?: a| an| the| my| our| one| two| three| four| \d+|"
    rf" some)?(?: [\w-]+){{0,4}} {_BOOKED}\b",
    r"(?:make|place|put in|submit|set up|schedule|arrange)(?: me| us)? (?:a|an|my|the|another)(?: [\w-]+){0,3} "
    r"(?:reservation|appointment|booking|payment|transfer|call|order|meeting|event|reminder|interview|"
    r"delivery|pickup|deposit)\b",
    rf"order (?:me |us )?(?:a|an|some|another|more|two|three|four|\d+|{_WHOM}|pizza|food|sushi|takeout|groceries)\b",
    rf"(?:buy|purchase|sell) (?:me|us|it now|them|{_SUM}|\d[\d,.]* (?:shares?|tickets?|units?|\w+ stock|"
    rf"btc|bitcoins?)|my )",
    rf"pay (?:{_WHOM}|{_SUM}|(?:the|this) (?:\w+ )?(?:bill|invoice|rent|fee|balance)|[a-z]+ {_SUM})",
    rf"(?:transfer|wire|deposit|withdraw|donate|move) (?:{_SUM}|money|funds|my (?:money|savings|funds)|"
    rf"[a-z]+ {_SUM}|the (?:money|funds))\b",
    rf"(?:cancel|delete|remove|close|pause|resume|change|update|reset|renew|extend|block|unblock|freeze|"
    rf"unfreeze|activate|deactivate|"
    rf"reactivate|upgrade|downgrade|return|refund|report|replace|reschedule|confirm|modify|lock|unlock|"
    rf"order|track|dispute|erase|wipe) {_OWNED}",
    r"(?:unsubscribe|subscribe|sign|register|enroll|enrol|check|log) (?:me|us)\b",
    r"(?:remind|wake|alert|warn|notify) (?:me|us)\b(?! (?:how|what|why|who|of the|which|where|that))",
    r"set (?:an?|my|the|up an?)?(?: [\w-]+){0,2} ?(?:alarm|timer|reminder|thermostat|temperature|volume|brightness)\b",
    rf"(?:turn|switch)(?: (?:on|off|up|down|the|my|all|it))+(?: [\w-]+){{0,3}} ?(?:{_DEVICE}|on|off|up|down)\b",
    rf"(?:increase|decrease|raise|lower|dim|mute|unmute|start|stop) (?:the|my) (?:[\w-]+ )?{_DEVICE}\b",
    r"(?:play|shuffle|queue|skip|pause)(?! (?:the role|a game|devil|act|as|with|chess|along|out|20|twenty|the part))"
    r" (?:some|the|my|me|this|that|next|song|music|a song|[a-z]+ (?:by|on|from))\b",
    r"(?:add|put|remove|delete|append|take) .{1,60}\b(?:to|on|onto|in|into|from|off) (?:my|our|the) (?:[\w-]+ )?"
    r"(?:list|calendar|cart|basket|playlist|to-?do|schedule|wishlist|agenda|reminders|contacts)\b",
    r"(?:post|tweet|publish|share|upload) (?:this|that|it|my|a|an|the)\b.*\b(?:to|on|in) (?:my |our |the )?"
    r"(?:twitter|x|slack|instagram|facebook|linkedin|blog|channel|youtube|reddit|website|feed|page|wall)\b",
    r"(?:deploy|restart|reboot|shut ?down|roll ?back|scale|terminate|kill|redeploy) (?:the|my|our|it|"
    r"all|this|prod|production|staging)\b",
    r"drop (?:the )?(?:production|prod|\w+) (?:table|database)\b(?! in)",
    r"(?:unlock|lock|open|close) (?:the|my) (?:front |back |garage |car )?(?:doors?|gate|garage|car|"
    r"blinds|curtains|windows?)\b",
)  # fmt: skip
# Orders that are carried out only where there are tools to do so.
_ORDER_WITH_TOOLS = _any(
    r"(?:send|cancel|delete|remove|book|buy|order|pay|transfer|restart|stop|start|run|execute|deploy|"
    r"submit|approve|reject|merge|push|"
    r"commit|close|open|create|file|update|assign|schedule|invite|post|publish|upload|move|rename|"
    r"archive|enable|disable|revoke|grant|"
    r"install|uninstall|trigger|launch|reply|forward|save|turn|switch|set|refund|issue|escalate) "
    r"(?:the|my|our|a|an|this|that|it|all|both|these|those|new|to|\d+|#\d+)\b",
)  # fmt: skip


def _acts(sentence: str, *, has_tools: bool) -> bool:
    """Whether one sentence, in lower case, gives an order."""
    rest = sentence[match.end() :] if (match := _LEAD.match(sentence)) else sentence
    if _ASKS.match(rest):
        return False
    if _ORDER.match(rest):
        return True
    if not has_tools:
        return False
    wish = _WISH.match(rest)
    rest = rest[wish.end() :] if wish else rest
    return bool(_ORDER.match(rest) or _ORDER_WITH_TOOLS.match(rest))


# --- volatile: the answer changes by the hour ---

_NOW = (
    r"(?:right now|now|today|tonight|currently|at the moment|at present|this (?:morning|afternoon|"
    r"evening|minute|hour|week|weekend)|tomorrow|yesterday|last night)"
)
_LIVE = (
    r"(?:news|headlines|weather|forecast|temperature|humidity|traffic|price|prices|stock|stocks|"
    r"share price|market|exchange rate|rate|"
    r"score|scores|time|date|day|game|match|games|matches|flights?|events?|showtimes|air quality|aqi|"
    r"wait time|interest rates?|"
    r"mortgage rates?|odds|standings|trending|trends|status|outage|availability|lottery numbers)"
)  # fmt: skip
_COMMODITY = (
    r"(?:bitcoin|btc|ethereum|eth|dogecoin|doge|solana|gold|silver|oil|crude|brent|gas|gasoline|petrol|"
    r"diesel|crypto|copper|platinum)"
)
_MONEY = (
    r"(?:usd|eur|gbp|jpy|inr|cad|aud|chf|cny|dollars?|euros?|pounds?|yen|rupees?|pesos?|francs?|yuan|btc|bitcoins?|eth)"
)
_VOLATILE = _any(
    r"\bwhat(?:'s| is)?(?: the)?(?: current| exact| local)? time\b(?: is it|(?: right)? now|"
    r" in [a-z ]+)?\s*(?:\?|$|please)",
    r"\bwhat time (?:is it|it is)\b",
    r"\b(?:current|local) time\b(?! complexity| zone| series)",
    r"\btime (?:right )?now\b",
    r"\bwhat(?:'s| is)? (?:day|date|month|year) (?:is (?:it|today|tomorrow)|it is|are we)\b",
    r"\b(?:today'?s date|(?:what's|what is|tell me|give me) (?:the|today's) date(?:\?|$| today| now)|"
    r"(?:the )?date today|current date\b(?! (?:in|using|with|format|function|object)))",
    rf"\b(?:current|today'?s|latest|live|real-?time|up-?to-?date|tonight'?s|this week's|breaking|recent|"
    rf"tomorrow'?s) (?:[\w&.'-]+ ){{0,3}}{_LIVE}\b(?! (?:complexity|series|limit|object|class|function|"
    rf"zone|stamp|format|type|column|machine))",
    rf"\b{_LIVE}\b[^.?!]{{0,60}}\b{_NOW}\b",
    r"\b(?:what(?:'s| is)|how(?:'s| is)|show|tell me|check|"
    r"get me)(?: me)?(?: about)?(?: the)? (?:weather|temperature outside|forecast|traffic)\b",
    r"^(?:the )?(?:weather|forecast|traffic)\b(?! (?:the|a|api|app|forecasting|vane|pattern|light|"
    r"cone))(?: (?:in|for|at|near|on) [\w ,.'-]+| report| today| tomorrow)?\??$",
    r"\b(?:is it|is it going to|will it|does it look like it will|should it) (?:be )?(?:rain|raining|"
    r"snow|snowing|sunny|cloudy|windy|storming|hot|cold|warm|freezing)\b(?=.*(?:\b(?:now|today|tonight|"
    r"tomorrow|outside|this|later|weekend|in)\b|\?|$))",
    r"\bdo i need (?:an umbrella|a jacket|a coat|sunscreen)\b",
    r"\b(?:what|where|how much)(?:'s| is| are| does)? [\w.&' -]{1,30}\b(?:trading at|trade at|trading for)\b",
    r"\b(?:stock|share|stocks|shares|crypto) (?:price|quote|value)s? (?:of|for)\b|\b(?!an? |"
    r"the )\w{2,} (?:stock|share) price\b(?! (?:chart|prediction model|mean))",
    rf"\b(?:price|value|cost) of (?:a |an |one |1 )?{_COMMODITY}\b(?! (?:mining|storage|drilling))|"
    rf"\b{_COMMODITY} prices?\b",
    rf"\bhow much is (?:a |an |one |\d[\d,.]* )?(?:{_COMMODITY}|bitcoins?)(?: worth)?\b",
    rf"\b\d[\d,.]*\s?{_MONEY} (?:in|to|into|equals?|worth in) {_MONEY}\b|\bhow (?:much|"
    rf"many) {_MONEY}\b[^?]*\b(?:in|to|for|is|are)\b[^?]*\b{_MONEY}\b",
    rf"\b{_MONEY}(?: ?/ ?| to | vs\.? ){_MONEY}(?: (?:rate|exchange|price|today|now)|\s*\??$)|"
    rf"\bexchange rate (?:of|for|between|from)\b",
    r"\b(?:latest|breaking|top|today'?s|current|recent) (?:\w+ ){0,2}(?:news|headlines)\b|"
    r"\bnews (?:today|about today)\b|^(?:the )?(?:latest )?news\??$",
    r"\bwhat(?:'s| is) (?:happening|going on|new|trending)(?: (?:in|on|at|with|"
    r"around) [\w ,.'-]+)? ?(?:now|right now|today|tonight|this week|this weekend|in the world|"
    r"in the news)\b",
    r"\bwho (?:won|is winning|'s winning|lost)\b.*\b(?:last night|today|yesterday|tonight|right now|"
    r"so far|the game|this weekend)\b",
    r"\bwhat(?:'s| is|was|'s the| was) (?:the )?(?:final |current )?score\b(?! (?:range|function|mean|on a))",
    r"\b(?:is|are) (?:the |my |there )?[\w .'&-]{1,40} (?:open|closed|down|delayed|on time|available|"
    r"in stock|live) (?:right now|now|today|tonight|at the moment|currently|tomorrow)\b",
    r"\bhow (?:many|much) (?:days|weeks|months|hours|time|longer)(?: are| is)?(?: left)? (?:until|till|"
    r"til|left|to go|before)\b",
    r"\bflight status\b|\b(?:has|is) (?:flight )?[a-z]{2} ?\d{2,4} (?:landed|delayed|on time|departed)\b",
)  # fmt: skip
# Questions about how such a thing works, or about a programming language's notion of it.
_TIMELESS = _any(
    r"^(?:\W|please |so |hi |hey )*(?:how (?:do|does|can|to|would|could|should|did|is .* (?:calculated|"
    r"determined|measured|computed|formed))|why|explain|define|write|create|build|"
    r"implement|generate|what (?:does|determines?|causes?|affects?|influences?|drives?|"
    r"is the difference|makes|is meant))\b(?!.*\b(?:right now|today|tonight|currently|"
    r"at the moment)\s*\??$)",
    r"\b(?:python|java|javascript|typescript|sql|excel|bash|c\+\+|c#|php|ruby|golang|rust|kotlin|swift|"
    r"pandas|react|api|function|code|script|regex|class|command|linux)\b",
    r"\b(?:typical|typically|usual|usually|average|on average|normally|generally|historical|history of)\b",
    r"\b(?:in|during|for) (?:the )?(?:january|february|march|april|may|june|july|august|september|"
    r"october|november|december|summer|winter|spring|autumn|fall|1[0-9]{3}|20[0-2][0-9])\b",
)  # fmt: skip

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
