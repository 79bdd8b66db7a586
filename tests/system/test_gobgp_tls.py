"""A gobgpd that takes gRPC over TCP, with TLS: both sides show who they are."""

from __future__ import annotations

import asyncio
import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc
import pytest

from speaker.gobgp.connect import connect
from speaker.gobgp.session import DaemonLostError, DaemonRefusedError
from speaker.settings import Api
from tests.system.gobgp_daemons import V4
from tests.system.gobgp_rig import Rig, wait
from tests.system.gobgp_v4_servicer import FakeGobgp4

if TYPE_CHECKING:
    from pathlib import Path

PORT = 50051


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A certificate authority with a certificate for the daemon and one for the speaker, and one of nobody's."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True, timeout=30)

    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    for name in ("ca", "other"):
        openssl(*new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    for name in ("daemon", "speaker"):
        names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key"]
        openssl(
            *new, "-subj", f"/CN={name}", *signed, *names, "-keyout", f"{name}.key", "-out", f"{name}.pem"
        )
    return tmp_path


def test_a_fake_daemon_and_the_speaker_check_each_other(keys: Path) -> None:
    def path(name: str) -> str:
        return str(keys / name)

    async def run() -> None:
        fake = FakeGobgp4()
        pair = ((keys / "daemon.key").read_bytes(), (keys / "daemon.pem").read_bytes())
        credentials = grpc.ssl_server_credentials([pair], (keys / "ca.pem").read_bytes(), True)
        port = await fake.serve("127.0.0.1:0", credentials)
        good = Api(f"127.0.0.1:{port}", path("ca.pem"), path("speaker.pem"), path("speaker.key"))
        try:
            session = await connect(good)
            assert await session.identity() is None
            await session.close()
            for wrong in (
                replace(good, ca=path("other.pem")),
                replace(good, certificate="", key=""),
                Api(good.target),
            ):
                with pytest.raises(DaemonLostError):
                    await connect(wrong)
            with pytest.raises(DaemonRefusedError, match=r"gobgpd\.ca: .*/missing\.pem can't be read"):
                await connect(replace(good, ca=path("missing.pem")))
        finally:
            await fake.stop()

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["gobgpd-3", "gobgpd-4"])
def test_a_speaker_finds_the_daemon_that_its_authority_signed(kind: str, keys: Path, tmp_path: Path) -> None:
    if kind == "gobgpd-4" and V4 not in os.environ:
        pytest.skip(f"{V4} names no gobgpd of version 4")
    rig = Rig(tmp_path)
    try:
        node = rig.node
        options: list[str | Path] = [
            "--tls",
            "--tls-cert-file",
            keys / "daemon.pem",
            "--tls-key-file",
            keys / "daemon.key",
        ]
        if kind == "gobgpd-4":  # version 3 asks nobody for a certificate
            options += ["--tls-client-ca-file", keys / "ca.pem"]
        program = os.environ[V4] if kind == "gobgpd-4" else "gobgpd"
        command = [program, "--api-hosts", f"127.0.0.1:{PORT}", "--pprof-disable", *options]
        node.start("gobgpd", command, node.directory / "gobgpd.log")
        for authority, seen in (("other", '"gobgpd not reachable"'), ("ca", "event=announced")):
            rig.configure([], '[announce]\nsubnets = ["10.244.1.0/24"]\n')
            tls = f'ca = "{keys}/{authority}.pem"\ncertificate = "{keys}/speaker.pem"\nkey = "{keys}/speaker.key"\n'
            text = node.config.read_text().replace(f'"unix://{node.socket}"\n', f'"127.0.0.1:{PORT}"\n{tls}')
            node.config.write_text(text)
            node.start_speaker()
            wait(seen, lambda seen=seen: node.logged(seen))  # type: ignore[misc]
            node.kill("speaker", 15)
        assert node.logged('"gobgpd connected"') == 1
    finally:
        rig.close()
