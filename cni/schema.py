"""The schema's part of validating a netconf, and how a mistake in one is put into words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

import cni
from cni.errors import INVALID_CONFIG, CniError

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

MAX_SHOWN = 80


def validator() -> Draft202012Validator:
    """The schema, ready to validate."""
    with open(f"{cni.__path__[0]}/netconf.schema.json", encoding="utf-8") as file:
        schema = json.load(file)
    return Draft202012Validator(schema)


def checked(conf: dict[str, Any]) -> dict[str, Any]:
    """The netconf as the reference plugins read it, valid by the schema; CniError 7 for the first mistake.

    They are written in Go: null is the same as no key, and the case of a key's letters says nothing.
    """
    found = validator()
    schema: Any = found.schema
    read: dict[str, Any] = _as_go_reads(conf, schema, schema)
    errors = sorted(found.iter_errors(read), key=lambda one: list(map(str, one.absolute_path)))
    if errors:
        raise CniError(INVALID_CONFIG, _message(errors[0]))
    return read


def _as_go_reads(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Any:
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if isinstance(value, list) and "items" in schema:
        return [_as_go_reads(one, schema["items"], root) for one in value]
    if not isinstance(value, dict):
        return value
    known = {name.lower(): (name, inner) for name, inner in _properties(schema, root).items()}
    found = {}
    for key, inner in value.items():
        name, of = known.get(key.lower(), (key, None))
        # With both spellings there, the one that is written as documented counts.
        if inner is not None and (name == key or name not in value):
            found[name] = inner if of is None else _as_go_reads(inner, of, root)
    return found


def _properties(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    branch = schema.get("then", {}).get("$ref", "").rpartition("/")[2]
    more: dict[str, Any] = root["$defs"][branch]["properties"] if branch else {}
    return {**schema.get("properties", {}), **more}


def _key(path: Any) -> str:
    shown = ""
    for part in path:
        shown += f"[{part}]" if isinstance(part, int) else f".{part}" if shown else str(part)
    return shown or "netconf"


def shown(value: object) -> str:
    """A value as it stands in the netconf, shortened."""
    text = json.dumps(value, default=str)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def wrong(key: str, value: object, why: str) -> CniError:
    """CniError 7 that names key, value and, in `why`, the fix."""
    return CniError(INVALID_CONFIG, f"{key}: {shown(value)} is {why}")


def _message(error: ValidationError) -> str:
    key = _key(error.absolute_path)
    instance: Any = error.instance
    rule: Any = error.validator_value
    if error.validator == "required":
        missing = next(name for name in rule if name not in instance)
        inner = f"{key}.{missing}" if key != "netconf" else missing
        return f"{inner}: is missing; set it"
    if error.validator == "additionalProperties":
        known: Any = error.schema
        unknown = next(name for name in instance if name not in known["properties"])
        return f"{key}: {shown(unknown)} is no key here; known are {', '.join(known['properties'])}"
    if error.validator == "type":
        return f"{key}: {shown(instance)} must be of type {rule}"
    return f"{key}: {shown(instance)} does not keep the rule {error.validator} {shown(rule)}"
