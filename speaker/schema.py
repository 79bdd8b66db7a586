"""What a JSON Schema says about a document, in words for the person who wrote it."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any, cast

from jsonschema import Draft202012Validator
from jsonschema.validators import extend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema.exceptions import ValidationError

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
    return text if len(text) <= 60 else text[:59] + "…"


# JSON knows one kind of number, TOML two: 65001.0 is a valid "integer" to JSON Schema and no AS number.
_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
)


def problems(schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
    """One line `key: what is wrong; what to do` for each violation, in the document's order."""
    errors = _Validator(schema).iter_errors(document)
    return [line for error in errors for line in _explain(error)]


def _explain(error: ValidationError) -> Iterator[str]:
    path = _dotted(list(error.absolute_path))
    rule, value = str(error.validator), cast("Any", error.instance)
    wanted = cast("Any", error.validator_value)
    schema = cast("dict[str, Any]", error.schema)
    if rule == "additionalProperties":
        known = sorted(schema["properties"])
        for key in value:
            if key not in known:
                yield f"{_dotted([*error.absolute_path, key])}: unknown key; {_suggest(key, known)}"
    elif rule == "required":
        yield from (
            f"{_dotted([*error.absolute_path, key])}: missing; add {_example(key, schema)}"
            for key in wanted
            if key not in value
        )
    elif rule == "type":
        name, fix = _NAMES[str(wanted)]
        yield f"{path}: {show(value)} is not {name}; {fix}"
    elif rule in {"minimum", "maximum"}:
        span = f"{schema['minimum']} to {schema['maximum']}"
        yield f"{path}: {show(value)} is out of range; write a number from {span}"
    elif rule == "enum":
        yield f"{path}: {show(value)} is not allowed; write {' or '.join(show(item) for item in wanted)}"
    elif rule == "uniqueItems":
        yield f"{path}: {show(value)} says something twice; keep one of them"
    else:
        yield f"{path}: {error.message}"


def _suggest(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key.replace("_", "-").lower(), known, n=1)
    return f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(known)}"


def _example(key: str, schema: dict[str, Any]) -> str:
    kind = schema["properties"][key].get("type")
    return {"integer": f"{key} = 65001", "string": f'{key} = "10.0.0.1"'}.get(kind, f"[{key}]")


def _dotted(path: list[Any]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or "(document)"


def with_defaults(schema: dict[str, Any], value: Any) -> Any:
    """A copy of a valid document in which every key that has a default is present."""
    if schema.get("type") == "array":
        return [with_defaults(schema["items"], item) for item in value]
    if schema.get("type") != "object":
        return value
    filled = {}
    for key, below in schema["properties"].items():
        if key in value:
            filled[key] = with_defaults(below, value[key])
        elif "default" in below:
            filled[key] = with_defaults(below, below["default"])
    return filled
