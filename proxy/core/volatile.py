"""Questions whose answer changes by the hour: time and date, weather, traffic, prices and rates, news, scores, what is open now.

Intent decides: "what's the temperature in Berlin" asks for a reading of a thermometer, "the boiling temperature of water" does not.
A question about how such a thing works, or about a programming language's notion of it, is an ordinary one.
"""

from __future__ import annotations

from proxy.core.patterns import any_of

# The frame around what is asked: "can you tell me", "I need to know", "what's". Stripped before the anchored patterns look.
_FRAME = any_of(
    r"^(?:(?:hey|hi|hello|ok|okay|so|and|please|pls|kindly|now|siri|alexa)[, ]+|"
    r"(?:can|could|would|will) you (?:please )?(?:mind )?|i(?:'d| would) like(?: to)? |"
    r"i(?:'m| am)? ?(?:want|need|must|have|wanna|trying)(?: to)? |"
    r"do you (?:know|have) |let me know |(?:tell|telling|give|giving|show|get|find)(?: me| us)?(?: out)? |look up |check(?: on| out)? |"
    r"know |figure out |find |what(?:'s|s| is| was| will be)? |how(?:'s|s| is) )+"
)
_NOW = (
    r"(?:right now|now|today|tonight|currently|at the moment|at this moment|at present|this (?:morning|afternoon|evening|minute|hour|"
    r"week|weekend)|tomorrow|yesterday|last night)"
)
_DAY = r"(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)"
_END = (
    r"(?:,? (?:please|right now|now|today|tonight|tomorrow|currently|at (?:the|this) moment|outside|like|there|here|it is|is it|"
    r"is what|is))*\W*$"
)

# --- time and date ---

_CLOCK = any_of(
    rf"^the (?:exact |current |local |correct |actual )?time(?: of day)?(?: (?:is )?(?:over )?(?:in|at) [a-z .,'-]{{2,40}})?{_END}",
    rf"^(?:exact |current |local |correct )?time (?:over )?in (?!a |an |the |which |\w+ics\b|space\b)[a-z .,'-]{{2,40}}{_END}",
    rf"^(?:exact|current|local|correct) time{_END}",
    rf"^(?:the |today's |tomorrow's |current |today )(?:name of the )?(?:current |exact )?(?:date|day|month and day)"
    rf"(?: of the week)?(?: (?:is|of|for|will be))?{_END}",
    rf"^(?:date|day) (?:is )?(?:today|tomorrow){_END}",
    rf"^(?:today|tomorrow)(?: (?:on|by) the cal[ea]nd[ae]r)?{_END}",
)
_TIME = any_of(
    r"\bwhat time (?:of day )?(?:is it|it is|is in)\b|\bclock say|\bsay on the clock",
    r"\b(?:current|local) time\b(?! complexity| zone| series)",
    r"\btime (?:right )?now\b",
    r"\b(?:what|which)(?:'s| is)? (?:day|date|month|year)(?: of the (?:week|month|year))? "
    r"(?:is (?:it|today|tomorrow)|it is|are we|will (?:it|tomorrow) be|was (?:it )?yesterday)\b",
    r"\btoday'?s date\b|\b(?:the )?date today\b|\bcurrent date\b(?! (?:in|using|with|format|function|object))",
    rf"\btoday (?:is )?(?:what|which) (?:date|day)\b|\bis (?:it|today|tomorrow) (?:a )?{_DAY}\b|\btomorrow (?:be |is )?on the cal",
    r"\b(?:what|which)\b[^?]{0,30}\b(?:date|day|it)\b[^?]{0,12}\b(?:in|after) (?:\w+ ){1,2}(?:days|weeks)\b|\bdate in (?:\w+ ){1,2}days\b",
    r"\b(?:in|after)(?: another)? \w+ days(?: from (?:today|now))?,? what\b|\bdays from (?:today|now)\b",
)

# --- weather ---

_PLACE = (
    r"(?:in|for|at|near|around) (?!the |a |an |outer|space\b|celsius|kelvin|fahrenheit|degrees|physics|chemistry|science)"
    r"[\w .,'-]{2,40}"
)
_SKY = any_of(
    rf"^(?:the |that |some )?(?:current |local |today's )?(?:weather|forecast|temperature|temp)"
    rf"(?: (?:like|forecast|report|outlook|conditions|is|be|going to be|looking))*(?: {_PLACE})?{_END}",
    r"^(?:the )?(?:weather|forecast) (?:for|in|at|on|near|this|next|report|outlook) (?!the bible)",
)
_WEATHER = any_of(
    r"\b(?:what|how)(?:'s|s| is| will| about)? (?:the |that )?(?:weather|forecast)\b(?! (?:the|a|app|api|forecasting|vane|patterns?|"
    r"balloon|station|made|measured))",
    r"\bwhat(?:'s| is| kind of)(?: \w+){1,3} weather (?:like|is|right now|today)\b|\bwhat kind of weather\b",
    r"\b(?:info|information|update|report|rundown|happening|going on)\b[^?]{0,30}\bweather\b",
    r"\bwhat (?:can|could) you tell me about \w+ weather\b",
    r"\bwhat the (?:weather|temperature|forecast) (?:is|will be|looks like|in)\b|\bhow the weather is\b",
    r"\b(?:is|will|does) (?:it|there)(?: look like it(?: will)?)?(?: going to| gonna)? ?(?:be )?(?:get )?(?:any |a lot of |over \d+ )?"
    r"(?:rain|raining|rainy|snow|snowing|snowy|sunny|cloudy|windy|storm|storming|stormy|hail|foggy|humid|hot|cold|warm|freeze|freezing|"
    r"chilly|degrees)\b(?=\W*$|.*\b(?:now|today|tonight|tomorrow|outside|this|next|later|weekend|in|on|there|here)\b)",
    r"\bhow (?:hot|cold|warm|cool|humid|windy|chilly) (?:is it|will it|it is|is it going to)\b",
    r"\bchances? of (?:rain|snow|showers|storms?|precipitation|thunderstorms?)\b|\b(?:low|high)s? (?:for )?(?:tonight|today|tomorrow)\b",
    r"\b(?:do|will|should) i (?:need|bring|take)(?: to bring)? (?:an umbrella|a jacket|a coat|sunscreen|a raincoat)\b",
    r"\b(?:tornado(?:es|s)?|hurricanes?|storms?) (?:coming|heading|approaching)\b|\b(?:like|doing) outside\b",
    r"\btemperature (?:outside|right now|today|tonight|tomorrow)\b",
)

# --- traffic ---

_TRAFFIC = any_of(
    r"\b(?:is|are|will|was|how(?:'s|s)?|what(?:'s|s)?|much|any|there|about|know|tell me|give me|kind of)\b[^?.]{0,25}?"
    r"\b(?:the traffic(?! (?:lights?\b(?! or)|tickets?|signs?|laws?|cones?|controllers?|rules?|violations?|engineering|analysis))|"
    r"traffic (?:be|is|like|in|on|to|at|near|nearest|before|around|from|heavy|bad|light or|there|update|congestion|can i expect))\b",
    r"\bthere (?:be )?traffic\b|\btraffic (?:update|report)\b",
    r"^(?:the )?traffic(?: (?:in|on|to|at|near|around|from|report|update|now|today)\b[^?]*)?\W*$",
    r"\bgridlock\b[^?]{0,30}\b(?:on|at|up|now|today)\b",
    r"\b(?:expressway|highway|freeway|interstate) (?:slow|jammed|blocked|clear)",
)
_WEB_TRAFFIC = any_of(
    r"\b(?:web ?site|web|blog|site|seo|server|network|page|internet|organic|human|drug|air|increase|generate)\b"
)

# --- money ---

_COMMODITY = (
    r"(?:bitcoin|btc|ethereum|eth|dogecoin|doge|solana|gold|silver|oil|crude|brent|gas|gasoline|petrol|"
    r"diesel|crypto|copper|platinum)"
)
_MONEY = (
    r"(?:(?:us|american|canadian|australian|mexican|british|hong kong) )?(?:usd|eur|gbp|jpy|inr|cad|aud|chf|cny|mxn|krw|brl|rub|"
    r"dollars?|euros?|pounds?(?: sterling)?|yens?|rupees?|pesos?|francs?|yuan|r(?:o)?ubles?|riyals?|dirhams?|kron[aeor]+|liras?|baht|"
    r"zlotys?|shekels?|krugerrands?|btc|bitcoins?|eth)"
)
_AMOUNT = r"(?:\d|\b(?:one|two|five|ten|twenty|fifty|hundred|thousand|a|how much|how many|what(?:'s|s)?|convert|tell me|equals?)\b)"
_NO_COIN = r"(?! (?:notes?|bills?|coins?|bank))"
_RATES = any_of(
    rf"{_AMOUNT}[^?.]{{0,40}}\b(?P<one>{_MONEY})\b{_NO_COIN}[^?.]{{0,40}}"
    rf"\b(?:to|in|into|for|equals?|is|worth|vs|and|from|per|terms of|trading|trade in)\b[^?.]{{0,30}}\b(?!(?P=one)\b){_MONEY}\b{_NO_COIN}",
    rf"\b(?:in|to) {_MONEY},? what is\b|\b{_MONEY} (?:is )?worth in\b",
    rf"^{_MONEY}(?: ?/ ?| to | vs\.? | in ){_MONEY}\b",
    rf"\b{_MONEY}(?: ?/ ?| to | vs\.? | )?{_MONEY} (?:exchange )?(?:rate|price|conversion)\b",
    rf"\b(?:rate|conversion)\b[^?]{{0,20}}\b{_MONEY}\b[^?]{{0,12}}\b{_MONEY}\b",
    r"\b(?:what|how|tell|give|show|check|find|know|looking|need|trying)\b[^?]{0,40}\b(?:the|current|today's|latest|going|best) "
    r"(?:\w+ ){0,3}exchange rates?\b(?! (?:risks?|policy|mechanism|regime|system|fluctuations?|volatility|parity|theory))",
    r"^(?:the )?(?:current )?exchange rates? (?:of|for|between|from)\b(?! (?:my|the (?:withdrawal|payment|transaction)))",
)
_NO_RATE = any_of(
    r"^(?:can|could|should|may|where|do) (?:i|we|you)\b(?! (?:please |kindly )?(?:tell|know|have|give|get|check|convert))",
    r"\b(?:wrong|incorrect|correct|applied|apply|charged|calculated|determined|base|process|best way|difference between|"
    r"my (?:card|withdrawal|payment|transaction))\b",
)
_PRICES = any_of(
    r"\b(?:what|where|how much)(?:'s| is| are| does)? [\w.&' -]{1,30}\b(?:trading at|trade at|trading for)\b",
    r"\b(?:stock|share|stocks|shares|crypto) (?:price|quote|value)s? (?:of|for)\b|\b(?!an? |the )\w{2,} (?:stock|share) price\b"
    r"(?! (?:chart|prediction model|mean))",
    rf"\b(?:price|value|cost) of (?:a |an |one |1 )?{_COMMODITY}\b(?! (?:mining|storage|drilling))|\b{_COMMODITY} prices?\b",
    rf"\bhow much is (?:a |an |one |\d[\d,.]* )?(?:{_COMMODITY}|bitcoins?)(?: worth)?\b",
)

# --- news, games, what is open ---

_LIVE = (
    r"(?:news|headlines|weather|forecast|temperature|humidity|traffic|price|prices|stock|stocks|share price|market|exchange rate|rate|"
    r"score|scores|game|match|games|matches|flights?|events?|showtimes|air quality|aqi|wait time|interest rates?|mortgage rates?|odds|"
    r"standings|trending|trends|outage|availability|lottery numbers)"
)
_EVENTS = any_of(
    rf"\b(?:current|today'?s|latest|live|real-?time|up-?to-?date|tonight'?s|this week's|breaking|recent|tomorrow'?s) "
    rf"(?:[\w&.'-]+ ){{0,3}}(?:{_LIVE}|time|date|status)\b"
    r"(?! (?:complexity|series|limit|object|class|function|zone|stamp|format|type|column|machine))",
    rf"\b{_LIVE}\b[^.?!]{{0,60}}\b{_NOW}\b",
    r"\b(?:latest|breaking|top|today'?s|current|recent) (?:\w+ ){0,2}(?:news|headlines)\b|\bnews (?:today|about today)\b|"
    r"^(?:the )?(?:latest )?news\??$",
    r"\bwhat(?:'s| is) (?:happening|going on|new|trending)(?: (?:in|on|at|with|around) [\w ,.'-]+)? ?(?:now|right now|today|tonight|"
    r"this week|this weekend|in the world|in the news)\b",
    r"\bwho (?:won|is winning|'s winning|lost)\b.*\b(?:last night|today|yesterday|tonight|right now|so far|the game|this weekend)\b",
    r"\bwhat(?:'s| is|was|'s the| was) (?:the )?(?:final |current )?score\b(?! (?:range|function|mean|on a))",
    r"\b(?:is|are) (?:the |my |there )?[\w .'&-]{1,40} (?:open|closed|down|delayed|on time|available|in stock|live) (?:right now|now|"
    r"today|tonight|at the moment|currently|tomorrow)\b",
    r"\bhow (?:many|much) (?:days|weeks|months|hours|time|longer)(?: are| is)?(?: left)? (?:until|till|til|left|to go|before)\b",
    r"\bflight status\b|\b(?:has|is) (?:flight )?[a-z]{2} ?\d{2,4} (?:landed|delayed|on time|departed)\b",
)

# Questions about how such a thing works, or about a programming language's notion of it.
_TIMELESS = any_of(
    r"^(?:\W|please |so |hi |hey )*(?:how (?:do|does|can|to|would|could|should|did|is .* (?:calculated|"
    r"determined|measured|computed|formed))|why|explain|define|write|create|build|"
    r"implement|generate|what (?:does|determines?|causes?|affects?|influences?|drives?|"
    r"is the difference|makes|is meant))\b(?!.*\b(?:right now|today|tonight|currently|at the moment)\s*\??$|.*\b(?:clock|outside)\b)",
    r"\b(?:python|java|javascript|typescript|sql|excel|bash|c\+\+|c#|php|ruby|golang|rust|kotlin|swift|"
    r"pandas|react|api|function|code|script|regex|class|command|linux)\b",
    r"\b(?:typical|typically|usual|usually|average|on average|normally|generally|historical|history of|boiling|melting|freezing point|"
    r"in space|outer space)\b",
    r"\b(?:in|during|for) (?:the )?(?:january|february|march|april|may|june|july|august|september|"
    r"october|november|december|summer|winter|spring|autumn|fall|1[0-9]{3}|20[0-2][0-9])\b",
)


def is_volatile(plain: str) -> bool:
    """Whether the answer to a question changes by the hour.

    Args:
        plain: the question in lower case, single spaces, straight quotes.
    """
    rest = frame.string[frame.end() :] if (frame := _FRAME.match(plain)) else plain
    found = (
        _CLOCK.match(rest)
        or _SKY.match(rest)
        or _TIME.search(plain)
        or _WEATHER.search(plain)
        or _PRICES.search(plain)
        or _EVENTS.search(plain)
        or (_TRAFFIC.search(plain) and not _WEB_TRAFFIC.search(plain))
        or (_RATES.search(plain) and not _NO_RATE.search(plain))
    )
    return bool(found) and not _TIMELESS.search(plain)
