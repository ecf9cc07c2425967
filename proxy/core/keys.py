"""Fingerprints, rooms, partitions, and every Redis name Deja uses; injective by construction.

Parts are joined as one JSON array before hashing, so ("a:b", "c") and ("a", "b:c") differ and an absent part is a null, never left
out. Digests are BLAKE2b of 128 bits in lower-case hex (RediSearch TAGs fold case), each with its own domain, so that a room can
never equal a context id.

    deja:v1:entry:<embedder>:{<room>}:<entry id>   hash    a stored answer, indexed by its vector
    deja:v1:exact:{<room>}:<fingerprint>           string  redis key of the entry for exactly this request
    deja:v1:context:{<room>}:<prefix hash>         string  what a conversation's prefix stands for (`core.context`)
    deja:v1:condemned:{<room>}                     set     entry ids that someone called wrong: no context through them resolves
    deja:v1:unequal:{<room>}:<text>                set     digests of the texts that are never the same question as this one
    deja:v1:replayed:{<room>}                      hash    a replayed response, to be gone on from (`core.follow_ups`)
    deja:v1:embedding:{<room>}:<input hash>        hash    a stored vector (`core.embedding_answers`)
    deja:v1:flight:{<room>}:<call>                 string  who asks the provider for exactly this now (`core.flights`)
    deja:v1:flight-followers:{<room>}:<flight>     zset    the processes that wait for what it gets
    deja:v1:flight-words:{<room>}:<flight>         stream  its answer, for them
    deja:v1:flight-inbox:<process>                 stream  somebody begins to follow a call of this process
    deja:v1:asked:{<room>}:<asked>                 string  a session asked exactly this a moment ago
    deja:v1:expiry                                 zset    redis keys of entries by the second they expire; the byte cap reads it
    deja:v1:earned                                 zset    entries that were hit, by what they saved of late (`core.worth`)
    deja:v1:entries:{<tenant>}                     zset    redis keys of a tenant's entries by the second they expire
    deja:v1:entry-tenants                          set     tenants that have such a list
    deja:v1:embedders, …                           what embedders there have been: `core.spaces`
    deja:v1:policies:{policies}:all                hash    what owners decided for their namespaces
    deja:v1:policies:{policies}:version            string  changes with them
    deja:v1:session:{<session>}:turns              stream  the session's messages
    deja:v1:session:{<session>}:events             stream  the session's events
    deja:v1:session:{<session>}:meta               hash    who, when, how much
    deja:v1:session:{<session>}:data               hash    structured data and their version
    deja:v1:session:{<session>}:writes             hash    what was written before, so that a retry is not written again
    deja:v1:session:{<session>}:users              set     who spoke in it
    deja:v1:session:{<session>}:steps              stream  its recorded requests, each once
    deja:v1:session:{<session>}:parts              hash    what those are made of: messages, fields, answers by digest
    deja:v1:session:{<session>}:recording          hash    how large the recording is, and what it was forked from
    deja:v1:session:{<session>}:requests           zset    what its requests left elsewhere, by when that is gone by itself
    deja:v1:session:{<session>}:erased             hash    when it, or a user's part of it, was erased
    deja:v1:sessions:{<tenant>}:active             zset    sessions by when they were last written to
    deja:v1:sessions:{<tenant>}:expiry             zset    sessions by when their time is over
    deja:v1:sessions:{<tenant>}:ttl                hash    seconds a session is kept, where it has its own
    deja:v1:sessions:{<tenant>}:user:<user>        zset    those of a user, by when they were last written to
    deja:v1:sessions:{<tenant>}:agent:<agent>      zset    those of an agent
    deja:v1:sessions:{<tenant>}:facets:<name>      set     the users and agents under which a session is listed
    deja:v1:user:{<user>}:requests                 zset    what a user's requests left, by when that is gone by itself
    deja:v1:user:{<user>}:erased                   string  when the user was erased
    deja:v1:flushes:{<room>}                       string  how often a named cache was flushed; the room is its first
    deja:v1:journal                                stream  every event of every session, for whoever follows
    deja:v1:decisions:{<tenant>}:judged            stream  decisions of the semantic tier
    deja:v1:decisions:{<tenant>}:other             stream  all other decisions: exact hits, questions not matched by meaning
    deja:v1:decisions:{<tenant>}:ids               hash    request id -> where in the two streams
    deja:v1:decisions:{<tenant>}:votes             hash    request id -> what the caller said of the answer
    deja:v1:decisions:{<tenant>}:rooms             zset    rooms with digests of their fields, by when they were last asked in
    deja:v1:decisions:{<tenant>}:erased            zset    requests whose decisions were erased, by when
    deja:v1:evidence:{evidence}:<space>:<scope>    hash    what audits found: a tally, and where the namespace stands
    deja:v1:evidence-batch:{evidence}:<batch>      string  this batch of counts has been added

The braces are Redis Cluster's hash tag: all keys of a room share a slot.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Any

import orjson

from proxy.core.models import ChatRequest
from proxy.errors import RequestError

PREFIX = "deja:v1:"
"""Rises with the stored shape: an entry of another version is never read."""
JOURNAL = f"{PREFIX}journal"
EXPIRY = f"{PREFIX}expiry"
EARNED = f"{PREFIX}earned"
POLICIES = f"{PREFIX}policies:{{policies}}:all"
POLICIES_VERSION = f"{PREFIX}policies:{{policies}}:version"
ENTRY_TENANTS = f"{PREFIX}entry-tenants"
_VERDICTS = (f"{PREFIX}unequal:", f"{PREFIX}condemned:")
ENTRY = f"{PREFIX}entry:"
ANSWERS = (f"{PREFIX}exact:", ENTRY, *_VERDICTS)
"""What the names of exact keys and entries begin with, and of what callers called wrong."""


def is_verdict(redis_key: str) -> bool:
    """Whether a key holds what callers called wrong."""
    return redis_key.startswith(_VERDICTS)


ANONYMOUS = "anonymous"
_TAG_CHARS = 12  # of an embedder's name: there are a handful
_DIGEST_BYTES = 16  # 128 bits: no collision to be found in fewer than 2^64 tries, and those stay inside one tenant


def encode(value: Any) -> bytes:
    """Write a parsed request, or a part of it, as JSON with sorted keys.

    Raises:
        RequestError: it is nested more deeply than can be written.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise RequestError(
            "The request is nested too deeply; keep JSON within 250 levels.", code="nesting_too_deep"
        ) from error


def digest(domain: str, *parts: Any) -> str:
    """Hash JSON-like parts under a domain to 32 lower-case hex digits.

    Raises:
        RequestError: the parts are nested too deeply to be written as JSON.
    """
    return blake2b(encode(parts), digest_size=_DIGEST_BYTES, person=domain.encode()).hexdigest()


def tenant_of(credential: bytes | None, secret: bytes) -> str:
    """Name the tenant of a credential without keeping it: an HMAC under Deja's own secret."""
    if not credential:
        return ANONYMOUS
    return hmac.new(secret, b"tenant\0" + credential, sha256).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request belongs, before its last turn is looked at by meaning.

    Attributes:
        room: everything but the conversation.
        fingerprint: the room and all messages: the exact key.
        prefix_hash: the conversation before the last turn, None for a first turn.
        turn_hash: whatever the last turn holds besides its text (a name, the memories told with it).
    """

    room: str
    fingerprint: str
    prefix_hash: str | None
    turn_hash: str


def place_of(
    request: ChatRequest,
    *,
    tenant: str,
    namespace: str,
    upstream: Sequence[str],
    family: str,
    query: str | None = None,
    context: str | None = None,
    memories: str | None = None,
) -> Place:
    """Compute room, fingerprint and prefix hash of a request.

    Args:
        request: canonical form.
        tenant: as `tenant_of` names it.
        namespace: the caller's own partitioning.
        upstream: base URL, api version and whatever headers make this provider's answers its own.
        family: route family, such as `chat`.
        query: the text the caller wants matched by meaning in place of the last user turn.
        context: what the caller wants compared exactly in place of the prefix.
        memories: digest of the memories told with the last turn, None for none.
    """
    room = digest("room", tenant, namespace, list(upstream), family, request.keyed, request.instructions)
    prefix_hash = None
    if context is not None:
        prefix_hash = digest("named-context", context)
    elif request.prefix:
        prefix_hash = prefix_hash_of(request.prefix)
    last = {name: value for name, value in request.last.items() if name != "content"}
    # Memories are not in the prefix: the next request comes without them, and its answer depends on its own alone.
    told = [] if memories is None else [memories]
    # A named query leaves the last message itself free, so what surrounds the query must be in `context` or in the room.
    return Place(
        room=room,
        fingerprint=digest("request", room, request.prefix, request.last, query, context, *told),
        prefix_hash=prefix_hash,
        turn_hash=digest("turn", last, query is not None, *told),
    )


def message_hash(message: Mapping[str, Any]) -> str:
    """Hash one canonical message."""
    return digest("message", message)


def prefix_hash_of(messages: Iterable[Mapping[str, Any]]) -> str:
    """Hash canonical messages that precede a turn; a chain, so that one more message is one more link."""
    hashed = digest("prefix")
    for message in messages:
        hashed = extend_prefix(hashed, message_hash(message))
    return hashed


def extend_prefix(prefix_hash: str, next_hash: str) -> str:
    """Hash of a prefix with one more message, whose own hash is given."""
    return digest("prefix", prefix_hash, next_hash)


def partition_of(room: str, context_id: str, turn_hash: str) -> str:
    """The TAG value of the vector query: nothing outside it can ever be a candidate."""
    return digest("partition", room, context_id, turn_hash)


def exact_key(room: str, fingerprint: str) -> str:
    """Redis key of the exact tier's pointer."""
    return f"{PREFIX}exact:{{{room}}}:{fingerprint}"


def context_key(room: str, prefix_hash: str) -> str:
    """Redis key of what a conversation prefix stands for."""
    return f"{PREFIX}context:{{{room}}}:{prefix_hash}"


@dataclass(frozen=True, slots=True)
class LookUpKeys:
    """Redis keys of one look-up, all of one room.

    Attributes:
        exact: pointer of the exact tier.
        context: what the conversation's prefix stands for, None for a first turn.
        condemned: entries no context may lead through.
        unequal: texts that never serve the one asked, None where it is not matched by meaning.
    """

    exact: str
    context: str | None
    condemned: str
    unequal: str | None


def look_up_keys(place: Place, text: str | None) -> LookUpKeys:
    """What is read before anything else; `text` is what would be matched by meaning, None if nothing is."""
    return LookUpKeys(
        exact=exact_key(place.room, place.fingerprint),
        context=context_key(place.room, place.prefix_hash) if place.prefix_hash is not None else None,
        condemned=condemned_key(place.room),
        unequal=unequal_key(place.room, text) if text is not None else None,
    )


@dataclass(frozen=True, slots=True)
class FlightKeys:
    """Redis keys of one shared call, all of one room."""

    lease: str
    followers: str
    words: str


def flight_lease(place: Place, *, is_stream: bool, include_usage: bool) -> str:
    """Redis key of who asks for exactly this now; answers that travel in other ways are other calls."""
    call = digest("flight", place.fingerprint, is_stream, include_usage)
    return f"{PREFIX}flight:{{{place.room}}}:{call}"


def flight_keys(lease: str, flight: str) -> FlightKeys:
    """Redis keys of the call that holds, or held, a lease."""
    tag = lease[lease.index("{") : lease.index("}") + 1]
    return FlightKeys(lease, f"{PREFIX}flight-followers:{tag}:{flight}", f"{PREFIX}flight-words:{tag}:{flight}")


def flight_inbox(process: str) -> str:
    """Redis key of what a process is told by those who follow its calls."""
    return f"{PREFIX}flight-inbox:{process}"


def asked_key(place: Place, session: str) -> str:
    """Redis key of the note that a session asked exactly this; the place tells tenants apart, fingerprint and session the rest."""
    return f"{PREFIX}asked:{{{place.room}}}:{digest('asked', place.fingerprint, session)}"


def text_digest(text: str) -> str:
    """Name a wording; letter case and white space make no difference."""
    plain = " ".join(text.casefold().split())
    return blake2b(plain.encode(), digest_size=_DIGEST_BYTES, person=b"text").hexdigest()


def unequal_key(room: str, text: str) -> str:
    """Redis key of the texts that are never the same question as this one."""
    return f"{PREFIX}unequal:{{{room}}}:{text_digest(text)}"


def condemned_key(room: str) -> str:
    """Redis key of the entries of a room that someone called wrong."""
    return f"{PREFIX}condemned:{{{room}}}"


def cache_room(tenant: str, cache_id: str, flushes: int = 0) -> str:
    """Room of a named cache, LangCache's `cacheId`, since it was last flushed; its family keeps it apart from every room of `place_of`."""
    return digest("room", tenant, cache_id, [], "langcache", {"flushes": flushes}, [])


def flushes_key(tenant: str, cache_id: str) -> str:
    """Redis key of how often a named cache was flushed: each time it moves to another room."""
    return f"{PREFIX}flushes:{{{cache_room(tenant, cache_id)}}}"


def attributes_tag(room: str, attributes: Mapping[str, str]) -> str:
    """The TAG that every entry of a named cache bears for each subset of its attributes, {} among them."""
    return digest("attributes", room, attributes)


def pointer_prefix(room: str) -> str:
    """What the exact keys of a room begin with; a fingerprint completes one."""
    return exact_key(room, "")


def embedder_tag(fingerprint: str) -> str:
    """A short name of an embedder, safe in keys and index names."""
    return digest("embedder", fingerprint)[:_TAG_CHARS]


def entry_prefix(fingerprint: str) -> str:
    """Key prefix of the entries one embedder made: an index covers exactly these."""
    return f"{ENTRY}{embedder_tag(fingerprint)}:"


def entry_key(fingerprint: str, room: str, entry_id: str) -> str:
    """Redis key of an entry."""
    return f"{entry_prefix(fingerprint)}{{{room}}}:{entry_id}"


def room_of(redis_key: str) -> str:
    """Room of a key that has one: its hash tag."""
    return redis_key.partition("{")[2].partition("}")[0]


def embedding_room(tenant: str, namespace: str, upstream: Sequence[str], keyed: Mapping[str, Any]) -> str:
    """Room of the inputs of a request for embeddings; the arguments as in `place_of`."""
    return digest("room", tenant, namespace, list(upstream), "embeddings", keyed, [])


def embedding_key(room: str, one: str | Sequence[int]) -> str:
    """Redis key of the vector of a text, or of a list of tokens."""
    return f"{PREFIX}embedding:{{{room}}}:{digest('embedding', room, one)}"


def embedding_id(redis_key: str) -> str:
    """`emb_…`: names a stored vector; the same again when it is stored anew."""
    return f"emb_{redis_key.rpartition(':')[2]}"


def entries_key(tenant: str) -> str:
    """Redis key of the list of a tenant's entries."""
    return f"{PREFIX}entries:{{{tenant}}}"


def room_pattern(room: str) -> str:
    """Glob of a room's entries, whichever embedder made them; no leading star, which Redis would try at every character."""
    return f"{PREFIX}entry:{'?' * _TAG_CHARS}:{{{room}}}:*"


def index_name(fingerprint: str) -> str:
    """RediSearch index of one embedder; a change of embedder opens another."""
    return f"{PREFIX}index:{embedder_tag(fingerprint)}"


def session_tag(tenant: str, session: str) -> str:
    """Hash tag of a session; tenants never share one."""
    return digest("session", tenant, session)


def session_keys(tag: str) -> tuple[str, str, str]:
    """Redis keys of a session: turns, events, meta."""
    base = f"{PREFIX}session:{{{tag}}}:"
    return f"{base}turns", f"{base}events", f"{base}meta"


def recording_keys(tag: str) -> tuple[str, str, str]:
    """Redis keys of a session's recording, in its slot: steps, parts, recording."""
    base = f"{PREFIX}session:{{{tag}}}:"
    return f"{base}steps", f"{base}parts", f"{base}recording"


def session_key(tag: str, name: str) -> str:
    """Redis key of one part of a session, such as `data`."""
    return f"{PREFIX}session:{{{tag}}}:{name}"


def session_index(tenant: str, name: str = "") -> str:
    """Redis key of a list of a tenant's sessions, such as `active`; without a name what all of them begin with."""
    return f"{PREFIX}sessions:{{{tenant}}}:{name}"


def user_tag(tenant: str, user: str) -> str:
    """Names a user in keys; tenants never share one."""
    return digest("user", tenant, user)


def user_key(tag: str, name: str) -> str:
    """Redis key of what is kept of a user: `requests` or `erased`."""
    return f"{PREFIX}user:{{{tag}}}:{name}"


@dataclass(frozen=True, slots=True)
class DecisionKeys:
    """Redis keys of a tenant's decisions, in one slot; the attributes are the last words of the keys."""

    judged: str
    other: str
    ids: str
    votes: str
    rooms: str
    erased: str


def decision_keys(tenant: str) -> DecisionKeys:
    """Redis keys of the decisions of a tenant."""
    base = f"{PREFIX}decisions:{{{tenant}}}:"
    return DecisionKeys(*(f"{base}{name}" for name in ("judged", "other", "ids", "votes", "rooms", "erased")))


def evidence_space(calibration: Mapping[str, Any], judge: str) -> str:
    """What counts of audits may be added up under: confidences of one calibration, verdicts of one judge."""
    return digest("evidence", calibration, judge)[:_TAG_CHARS]


def evidence_scope(tenant: str, namespace: str) -> str:
    """Tag of a namespace's evidence; tenants never share one."""
    return digest("scope", tenant, namespace)


EVIDENCE_POOL = "pool"
"""Tag of the evidence of all namespaces together; no digest reads like it."""


def evidence_key(space: str, tag: str) -> str:
    """Redis key of the evidence under a tag."""
    return f"{PREFIX}evidence:{{evidence}}:{space}:{tag}"


def evidence_batch_key(batch_id: str) -> str:
    """Redis key of the marker that a batch of counts has been added."""
    return f"{PREFIX}evidence-batch:{{evidence}}:{batch_id}"
