"""What health checks cost the speaker: processor time of the checker alone, for endpoints that answer at once.

    sudo python -m bench.checks --endpoints 250 --seconds 20

The servers are another process, in the same network namespace, which is made for it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import time
from ipaddress import ip_address

import grpc.aio

from cni.healthcheck import parse_check
from lab import netns
from protos.health import health_pb2 as api
from speaker.anycast.checker import Checker
from speaker.anycast.health import Health, Target

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


async def serve() -> None:
    """Until killed."""
    handler = grpc.unary_unary_rpc_method_handler(
        health, api.HealthCheckRequest.FromString, api.HealthCheckResponse.SerializeToString
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler}),)
    )
    server.add_insecure_port(f"{ADDRESS}:{GRPC_PORT}")
    await server.start()
    await asyncio.start_server(answer, str(ADDRESS), HTTP_PORT, backlog=1024)
    print("ready", flush=True)
    await server.wait_for_termination()


async def measure(kind: str, endpoints: int, seconds: float) -> None:
    """Prints percent of a core."""
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
    print(
        f"{kind:5} {up} of {endpoints} up, {endpoints / check.interval:.0f} probes a second:"
        f" {100 * used / passed:.2f} % of a core",
        flush=True,
    )
    await checker.close()


def main() -> None:
    """Makes the namespace, and runs itself in it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--endpoints", type=int, default=250)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--inside", choices=["serve", *CHECKS], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside == "serve":
        asyncio.run(serve())
    elif arguments.inside:
        asyncio.run(measure(arguments.inside, arguments.endpoints, arguments.seconds))
    else:
        _in_a_namespace(arguments)


def _in_a_namespace(arguments: argparse.Namespace) -> None:
    namespace = f"anypod-bench{os.getpid()}"
    netns.add(namespace)
    numbers = ["--endpoints", str(arguments.endpoints), "--seconds", str(arguments.seconds)]
    own = netns.inside(namespace, [sys.executable, "-m", "bench.checks", *numbers, "--inside"])
    try:
        ready, theirs = os.pipe()
        with subprocess.Popen([*own, "serve"], stdout=theirs) as server:
            os.close(theirs)
            os.read(ready, 1)
            for kind in CHECKS:
                subprocess.run([*own, kind], check=True)
            server.kill()
    finally:
        netns.delete(namespace)


if __name__ == "__main__":
    main()
