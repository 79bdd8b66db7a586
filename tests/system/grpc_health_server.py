"""A gRPC server whose services answer the health protocol in ways of their own; prints its two ports."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio

from protos.health import health_pb2 as api

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
ANSWERS = {
    "": SERVING,
    "serving": SERVING,
    "longer": SERVING + b"\x12\x02hi",  # of a later protocol
    "down": NOT_SERVING,
    "unknown": b"",
    "odd": b"\x08\x4d",
    "garbage": b"\xff\xff\xff",
    "huge": b"\x0a\x80\x80\x40" + b"x" * (1 << 20),
}


async def check(
    request: api.HealthCheckRequest, context: grpc.aio.ServicerContext[api.HealthCheckRequest, bytes]
) -> bytes:
    if request.service == "slow":
        await asyncio.sleep(60)
    if request.service == "host":
        await context.abort(
            grpc.StatusCode.INTERNAL, dict(context.invocation_metadata() or ()).get("host", "")
        )
    if request.service not in ANSWERS:
        await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return ANSWERS[request.service]


def health_handler() -> grpc.GenericRpcHandler[api.HealthCheckRequest, bytes]:
    handler = grpc.unary_unary_rpc_method_handler(check, api.HealthCheckRequest.FromString, bytes)
    return grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler})


async def main() -> None:
    servers = []
    for handlers in ((health_handler(),), ()):
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(handlers)
        print(server.add_insecure_port("[::]:0"), flush=True)
        await server.start()
        servers.append(server)
    await servers[0].wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
