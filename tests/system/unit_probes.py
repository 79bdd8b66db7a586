"""Runs as the speaker's unit does: one probe of each kind against servers of its own; prints the verdicts as JSON.

Arguments: a file with certificate and key, and the command to run.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from ipaddress import ip_address

import grpc.aio

from cni.healthcheck import parse_check
from speaker.anycast.health import Target
from speaker.anycast.probe import probe
from speaker.anycast.probes.errors import NoVerdictError, ProbeFailedError
from tests.system.grpc_health_server import health_handler

VIP = ip_address("198.51.100.10")


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await writer.drain()
    writer.close()


async def verdict(check: str, address: str) -> str:
    try:
        await probe(Target(ip_address(address), parse_check(check, allow_exec=True), VIP, "dns/a"))
    except (ProbeFailedError, NoVerdictError) as error:
        return str(error)
    return "healthy"


async def main(certificate: str, command: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    verdicts = {"exec": await verdict(f"exec:{command}", "127.0.0.1")}
    for address in ("127.0.0.1", "::1"):
        plain = await asyncio.start_server(answer, address, 0)
        secured = await asyncio.start_server(answer, address, 0, ssl=context)
        health = grpc.aio.server()
        health.add_generic_rpc_handlers((health_handler(),))
        host = f"[{address}]" if ":" in address else address
        port, tls_port = (server.sockets[0].getsockname()[1] for server in (plain, secured))
        grpc_port = health.add_insecure_port(f"{host}:0")
        await health.start()
        for check in (
            f"tcp://:{grpc_port}",
            f"http://:{port}/",
            f"https://:{tls_port}/",
            f"grpc://:{grpc_port}",
        ):
            verdicts[f"{check.partition(':')[0]} {address}"] = await verdict(check, address)
        await health.stop(None)
    print(json.dumps(verdicts), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
