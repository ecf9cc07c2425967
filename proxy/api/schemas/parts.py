"""A few words to write JSON schemas with."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

ANY: Schema = {}
TEXT: Schema = {"type": "string"}
BYTES: Schema = {"type": "string", "format": "binary"}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}


def word(*allowed: str) -> Schema:
    """One of some words."""
    return {"type": "string", "enum": list(allowed)}


def maybe(schema: Schema) -> Schema:
    """That, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def either(*schemas: Schema) -> Schema:
    """Any of these."""
    return {"anyOf": list(schemas)}


def array(of: Schema, *, least: int = 0) -> Schema:
    """A list."""
    return {"type": "array", "items": of} | ({"minItems": least} if least else {})


def shape(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """An object; fields that are not named may be there too."""
    found: Schema = {"type": "object", "properties": {**required, **(optional or {})}}
    return found | ({"required": list(required)} if required else {})


def listed(of: Schema, **more: Schema) -> Schema:
    """A list as Deja answers it."""
    return shape({"object": word("list"), "data": array(of), **more})


def named(name: str) -> Schema:
    """A schema of the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}
