"""Orders to do something in the world: send, book, pay, cancel, switch on.

Intent decides: a question that asks how, why or what is no order, and an order needs an object that someone could act on ("delete
my account", not "delete the first line").
"""

from __future__ import annotations

import re

from proxy.core.patterns import any_of as _any

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


def acts(sentence: str, *, has_tools: bool) -> bool:
    """Whether one sentence, in lower case, gives an order.

    Args:
        sentence: lower case, single spaces.
        has_tools: whether there are tools to carry an order out with; then a bare order or a wish is enough.
    """
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
