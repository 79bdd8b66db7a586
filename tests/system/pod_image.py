"""The image of the tests' containers: one static program and no registry, in the two forms that runtimes import."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("pod.c")
NAME = "localhost/pod:test"
OCI = "application/vnd.oci.image"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class PodImage:
    """The program; an OCI archive of it, for `ctr images import`; its files alone, for `podman import`."""

    program: Path
    archive: Path
    files: Path


def _tar(files: dict[str, bytes], mode: int = 0o644) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def _archive(layer: bytes, machine: str) -> bytes:
    """An OCI image layout: index, manifest and configuration name each other by their digests."""
    blobs: dict[str, bytes] = {}

    def add(content: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": f"{OCI}.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    described = add(layer, "layer.v1.tar")
    config = {
        "architecture": ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": {"Entrypoint": ["/pod"]},
        "rootfs": {"type": "layers", "diff_ids": [described["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": add(json.dumps(config).encode(), "config.v1+json"),
        "layers": [described],
    }
    named = add(json.dumps(manifest).encode(), "manifest.v1+json")
    named["annotations"] = {"io.containerd.image.name": NAME}
    index = json.dumps({"schemaVersion": 2, "manifests": [named]}).encode()
    return _tar({"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": index} | blobs)


def build(folder: Path, machine: str) -> PodImage:
    """Compiles the program and packs it, for a machine as `uname -m` calls it."""
    made = PodImage(folder / "pod", folder / "oci.tar", folder / "files.tar")
    compiler = ["gcc", "-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*compiler, "-o", str(made.program), str(SOURCE)], check=True, timeout=60)
    layer = _tar({"pod": made.program.read_bytes()}, 0o755)
    made.files.write_bytes(layer)
    made.archive.write_bytes(_archive(layer, machine))
    return made
