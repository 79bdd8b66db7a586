"""What health checks cost the speaker: processor time of the checker alone, for endpoints that answer at once.

    sudo python -m bench.checks [--json FILE] [--quick] [--endpoints 250] [--seconds 20]

The servers are another process, in the same network namespace, which is made for it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from ipaddress import ip_address

import grpc.aio

from bench.results import Row, keep, show
from cni.healthcheck import parse_check
from lab import netns
from protos.health import health_pb2 as api
from speaker.anycast.checker import Checker
from speaker.anycast.health import Health, Target

COMMAND = "sudo python -m bench.checks"
ADDRESS = ip_address("127.0.0.1")
HTTP_PORT, GRPC_PORT = 8080, 8081
CHECKS = {
    "tcp": f"tcp://:{HTTP_PORT}",
    "http": f"http://:{HTTP_PORT}/",
    "exec": "exec:/bin/true",
    "grpc": f"grpc://:{GRPC_PORT}",
}


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One HTTP request; a probe that only connects sends none."""
    if await reader.read(4096):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    writer.close()


async def health(
    _: api.HealthCheckRequest, __: grpc.aio.ServicerContext[api.HealthCheckRequest, api.HealthCheckResponse]
) -> api.HealthCheckResponse:
    """All is well."""
    return api.HealthCheckResponse(status=api.HealthCheckResponse.SERVING)


async def serve(address: str) -> None:
    """Answers at this address until killed."""
    handler = grpc.unary_unary_rpc_method_handler(
        health, api.HealthCheckRequest.FromString, api.HealthCheckResponse.SerializeToString
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler}),)
    )
    server.add_insecure_port(f"{address}:{GRPC_PORT}")
    await server.start()
    await asyncio.start_server(answer, address, HTTP_PORT, backlog=1024)
    print("ready", flush=True)
    await server.wait_for_termination()


async def measure(kind: str, endpoints: int, seconds: float) -> None:
    """Prints how much of a core it takes, in percent."""
    check = parse_check(CHECKS[kind], allow_exec=True)
    targets = {
        (str(number), "eth0", str(ADDRESS)): Target(ADDRESS, check, ADDRESS, f"bench/{number}")
        for number in range(endpoints)
    }
    checker = Checker(lambda: None)
    checker.follow(targets, ())
    await asyncio.sleep(endpoints * 0.004 + 4 * check.fast)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    await asyncio.sleep(seconds)
    after, passed = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - started
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    up = sum(checker.health(key) is Health.UP for key in targets)
    await checker.close()
    if up != endpoints:
        raise SystemExit(f"{kind}: {up} of {endpoints} endpoints are up")
    print(json.dumps(100 * used / passed), flush=True)


def main() -> None:
    """Makes the namespace, and runs itself in it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--endpoints", type=int, default=250)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", default="", help="the file to keep the results in")
    parser.add_argument("--quick", action="store_true", help="a few seconds, for trying")
    parser.add_argument("--address", default=str(ADDRESS), help=argparse.SUPPRESS)
    parser.add_argument("--inside", choices=["serve", *CHECKS], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside == "serve":
        asyncio.run(serve(arguments.address))
    elif arguments.inside:
        asyncio.run(measure(arguments.inside, arguments.endpoints, arguments.seconds))
    else:
        if arguments.quick:
            arguments.seconds = 3.0
        rows = _in_a_namespace(arguments)
        show(rows)
        keep(arguments.json, rows)


def _in_a_namespace(arguments: argparse.Namespace) -> list[Row]:
    namespace = f"anypod-bench{os.getpid()}"
    netns.add(namespace)
    numbers = ["--endpoints", str(arguments.endpoints), "--seconds", str(arguments.seconds)]
    own = netns.inside(namespace, [sys.executable, "-m", "bench.checks", *numbers, "--inside"])
    try:
        ready, theirs = os.pipe()
        with subprocess.Popen([*own, "serve"], stdout=theirs) as server:
            os.close(theirs)
            os.read(ready, 1)
            try:
                return [_row(kind, [*own, kind], arguments.endpoints) for kind in CHECKS]
            finally:
                server.kill()
    finally:
        netns.delete(namespace)


def _row(kind: str, argv: list[str], endpoints: int) -> Row:
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    rate = endpoints / parse_check(CHECKS[kind], allow_exec=True).interval
    what = f"{rate:.0f} {kind} checks a second"
    return Row(f"checks-{kind}", what, "% of a core", json.loads(done.stdout), command=COMMAND)


if __name__ == "__main__":
    main()
