"""Is that an answer that a runtime can work with? For tests that provoke all kinds of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.system.injector import Ended

RESULTS = ("ADD", "VERSION")


def complaint(verb: str, ended: Ended) -> str:
    """What is wrong with the answer; empty for a success or for one CNI error object with exit status 1."""
    if b"Traceback (most recent call last)" in ended.stdout + ended.stderr:
        return "a traceback"
    if ended.status == 0:
        return _of_success(verb, ended)
    if ended.status != 1:
        return f"exit status {ended.status}"
    return _of_error(ended)


def _of_success(verb: str, ended: Ended) -> str:
    if verb not in RESULTS:
        return "success, and output" if ended.stdout else ""
    shown = _object(ended.stdout)
    if shown is None:
        return "success without one JSON object on stdout"
    return "success with an error object" if "code" in shown else ""


def _of_error(ended: Ended) -> str:
    shown = _object(ended.stdout)
    if shown is None:
        return "failure without one JSON object on stdout"
    code, message = shown.get("code"), shown.get("msg")
    flaws = {
        "an error object without a code": type(code) is not int or code < 1,
        "an error object without a message": not isinstance(message, str) or not message,
        "a defect": str(message).startswith("internal error"),
        "an error object without a version": not isinstance(shown.get("cniVersion"), str),
        "details that are no text": not isinstance(shown.get("details", ""), str),
    }
    return next((words for words, wrong in flaws.items() if wrong), "")


def _object(stdout: bytes) -> dict[str, Any] | None:
    def no_constant(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    try:
        found = json.loads(stdout, parse_constant=no_constant)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
