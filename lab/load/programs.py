"""The command line of what runs inside namespaces; lab.load.drive makes it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lab.load import datagrams, held, requests, routes, server, spread

if TYPE_CHECKING:
    from collections.abc import Callable

VERBS: dict[str, Callable[[argparse.Namespace], None]] = {
    "serve": server.serve,
    "spread": spread.spread,
    "hold": held.hold,
    "ask": datagrams.ask,
    "flows": datagrams.flows,
    "requests": requests.requests,
    "routes": routes.routes,
}


def main() -> None:
    """Reads the verb and its arguments and runs it."""
    arguments = _parser().parse_args()
    VERBS[arguments.verb](arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="load")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name in VERBS:
        verbs.add_parser(name)
    serve = verbs.choices["serve"]
    serve.add_argument("--name", required=True)
    serve.add_argument("--port", type=int, required=True)
    serve.add_argument("--http", type=int, required=True)
    serve.add_argument("--health", required=True)
    for name in ("spread", "hold", "ask", "flows", "requests"):
        verb = verbs.choices[name]
        verb.add_argument("target")
        verb.add_argument("--port", type=int, required=True)
        verb.add_argument("--sources", default="")
    for name in ("spread", "hold", "ask", "flows"):
        verbs.choices[name].add_argument("--count", type=int, required=True)
    verbs.choices["spread"].add_argument("--at-once", type=int, default=100)
    for name in ("hold", "flows"):
        verbs.choices[name].add_argument("--interval", type=float, default=1.0)
    verbs.choices["hold"].add_argument("--life", type=float, default=0.0)
    verbs.choices["requests"].add_argument("--rate", type=float, required=True)
    verbs.choices["requests"].add_argument("--patience", type=float, default=0.5)
    return parser
