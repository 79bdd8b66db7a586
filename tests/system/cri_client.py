"""CRI over gRPC: messages are plain dictionaries, made from `cri.proto` when the tests run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

DEFINITION = Path(__file__).with_name("cri.proto")
SERVICE = "runtime.v1.RuntimeService"
SECONDS = 100


def compile_definition(folder: Path) -> descriptor_pool.DescriptorPool:
    """The messages of `cri.proto`, by way of a file of descriptors in `folder`."""
    made = folder / "cri.descriptors"
    compiler = [sys.executable, "-m", "grpc_tools.protoc", f"-I{DEFINITION.parent}"]
    subprocess.run([*compiler, f"--descriptor_set_out={made}", str(DEFINITION)], check=True, timeout=60)
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(made.read_bytes()).file:
        pool.Add(file)
    return pool


class CriError(Exception):
    """What the runtime says where it refuses, or does not answer."""


class Cri:
    """One connection to a runtime; `call` may be used by many threads at once."""

    def __init__(self, pool: descriptor_pool.DescriptorPool, socket: Path) -> None:
        self.service = pool.FindServiceByName(SERVICE)
        self.channel = grpc.insecure_channel(f"unix:{socket}")

    def close(self) -> None:
        self.channel.close()

    def call(self, method: str, seconds: float = SECONDS, **fields: object) -> dict[str, Any]:
        """The answer, with every field of the definition in it."""
        found = self.service.methods_by_name[method]
        request, response = (
            message_factory.GetMessageClass(kind) for kind in (found.input_type, found.output_type)
        )
        ask = self.channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        try:
            answer = ask(json_format.ParseDict(fields, request()), timeout=seconds)
        except grpc.RpcError as error:
            raise CriError(f"{method}: {error.details()}") from None
        return json_format.MessageToDict(
            answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
