"""What a JSON Schema says about a document, in words for the person who wrote it."""

from __future__ import annotations

import difflib
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jsonschema import Draft202012Validator
from jsonschema.validators import extend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema.exceptions import ValidationError

MAX_SHOWN = 100
# Keys that name a file with a secret.
_SECRETS = re.compile(r"\b(password-file|gobgpd\.key)(\[\d+\])?$")

_NAMES = {
    "string": ("a string", "put it in quotes"),
    "integer": ("a whole number", "write digits without quotes"),
    "boolean": ("true or false", "write true or false without quotes"),
    "array": ("a list", 'write it in brackets, like ["…"]'),
    "object": ("a table", "write its keys below a [heading]"),
}


def show(value: object) -> str:
    """A value as the document would spell it, shortened to fit a line."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    text = "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def show_at(key: str, value: object) -> str:
    """A key's value as `show` has it, but for a secret that stands where the path of its file belongs."""
    is_path = isinstance(value, str) and value.startswith("/")
    return show(value) if is_path or not _SECRETS.search(key) else "(not shown)"


# JSON knows one kind of number, TOML two: 65001.0 is a valid "integer" to JSON Schema and no AS number.
_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
)


@cache
def load(name: str) -> dict[str, Any]:
    """The JSON Schema that lies beside this module, each `$ref` replaced by what it names.

    Properties and required keys beside a `$ref` are added to it.
    """
    loaded = cast("dict[str, Any]", _inlined(_file(name), name))
    loaded.pop("$defs", None)
    return loaded


@cache
def _file(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(Path(__file__).with_name(name).read_text("utf-8"))
    return loaded


def _inlined(node: Any, name: str) -> Any:
    if isinstance(node, list):
        return [_inlined(item, name) for item in node]
    if not isinstance(node, dict):
        return node
    own = {key: _inlined(item, name) for key, item in node.items() if key not in {"$ref", "$defs"}}
    if "unevaluatedProperties" in own:
        own["additionalProperties"] = own.pop("unevaluatedProperties")
    if not isinstance(node.get("$ref"), str):
        return own
    file, _, path = node["$ref"].partition("#/")
    target: Any = _file(file or name)
    for part in path.split("/"):
        target = target[part]
    base = _inlined(target, file or name)
    for key, join in (("properties", dict), ("required", list)):
        if key in base and key in own:
            own[key] = (
                join([*base[key].items(), *own[key].items()]) if join is dict else [*base[key], *own[key]]
            )
    return base | own


def problems(schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
    """One line `key: what is wrong; what to do` for each violation, in the document's order.

    The entries of a list that is too long are not looked at.
    """
    errors = list(_Validator(schema).iter_errors(document))
    long = {tuple(error.absolute_path) for error in errors if error.validator == "maxItems"}
    seen = [error for error in errors if not _below(tuple(error.absolute_path), long)]
    return list(dict.fromkeys(line for error in seen for line in _explain(error)))


def _below(path: tuple[Any, ...], lists: set[tuple[Any, ...]]) -> bool:
    return any(path[:length] in lists for length in range(len(path)))


def _explain(error: ValidationError) -> Iterator[str]:
    path = _dotted(list(error.absolute_path))
    rule, value = str(error.validator), cast("Any", error.instance)
    wanted = cast("Any", error.validator_value)
    schema = cast("dict[str, Any]", error.schema)
    if rule == "additionalProperties":
        known = sorted(schema["properties"])
        for key in value:
            if key not in known:
                yield f"{_dotted([*error.absolute_path, key])}: unknown key; {suggest(key, known)}"
    elif rule == "required":
        yield from (
            f"{_dotted([*error.absolute_path, key])}: missing; add {_example(key, schema)}"
            for key in wanted
            if key not in value
        )
    elif rule not in {"minimum", "maximum"} or type(value) is int:  # else it is told to be no whole number
        yield f"{path}: {show_at(path, value)} {_judge(rule, value, wanted, schema)}"


def _judge(rule: str, value: Any, wanted: Any, schema: dict[str, Any]) -> str:
    """What is wrong with one value, and the fix."""
    if rule == "type":
        name, fix = _NAMES[str(wanted)]
        return f"is not {name}; {fix}"
    if rule in {"minimum", "maximum"}:
        return f"is out of range; write a number from {schema['minimum']} to {schema['maximum']}"
    if rule == "enum":
        return f"is not allowed; write {' or '.join(show(item) for item in wanted)}"
    if rule == "minItems":
        return "is empty; write at least one entry"
    if rule in {"maxItems", "maxLength"}:
        what = "entries" if rule == "maxItems" else "characters"
        return f"has {len(value)} {what}; write at most {wanted}"
    return "says something twice; keep one of them"  # uniqueItems


def suggest(key: str, known: list[str]) -> str:
    """The fix for an unknown name: the most similar known one, or all of them."""
    near = difflib.get_close_matches(key.replace("_", "-").lower(), known, n=1)
    if near:
        return f'did you mean "{near[0]}"?'
    return f"known here: {', '.join(known[:20]) or 'none'}{', …' if len(known) > 20 else ''}"


def _example(key: str, schema: dict[str, Any]) -> str:
    examples = schema["properties"][key].get("examples")
    return f"{key} = {json.dumps(examples[0])}" if examples else f"[{key}]"


def _dotted(path: list[Any]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_spelled(part)}" for part in path)
    return text.lstrip(".") or "(document)"


def _spelled(key: str) -> str:
    """A key as TOML has it: anything can stand in quotes, a line break as well."""
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else show(key)


def with_defaults(schema: dict[str, Any], value: Any) -> Any:
    """A copy of a valid document in which every key that has a default is present."""
    if schema.get("type") == "array":
        return [with_defaults(schema["items"], item) for item in value]
    if schema.get("type") != "object":
        return value
    filled = {key: below for key, below in value.items() if key not in schema["properties"]}
    for key, below in schema["properties"].items():
        if key in value:
            filled[key] = with_defaults(below, value[key])
        elif "default" in below:
            filled[key] = with_defaults(below, below["default"])
    return filled
