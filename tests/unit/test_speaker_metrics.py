"""Every metric is documented, and nothing that is not there."""

from __future__ import annotations

import asyncio
import io
import re
import socket
from pathlib import Path
from types import SimpleNamespace

from speaker import log
from speaker.bgp import BgpGlobal, Peer, PeerStatus, SessionOptions
from speaker.history import History
from speaker.md5 import Md5Watch
from speaker.metrics import Measures
from speaker.reconcile import Speaker
from speaker.reload import Reload
from speaker.report import Report
from speaker.settings import Api, Config
from speaker.statefile import Pods
from speaker.web import WebServer
from tests.unit.anycast_rig import IdleKeeper, endpoint

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
CONFIG = Config(BgpGlobal(65001, "10.0.0.1"), Api("unix:///s"))


def parts(directory: Path) -> tuple[Speaker, Reload, Md5Watch]:
    """Of a speaker that has not begun: it touches the kernel only when it runs."""
    keeper = IdleKeeper(CONFIG)
    keeper.anycast.look((endpoint(1),), (), 0.0, 0.0)
    speaker = Speaker(CONFIG, None, SimpleNamespace(), Pods(None), keeper, Report(str(directory)))  # type: ignore[arg-type]
    return speaker, Reload(lambda: CONFIG, CONFIG), Md5Watch()


def test_the_page_and_the_metrics_agree(tmp_path: Path) -> None:
    rows = re.findall(r"^\| `(anypod_\w+)` \|([^|]*)\|", PAGE.read_text("utf-8"), re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}

    async def collect() -> dict[str, set[str]]:
        speaker, reload, md5 = parts(tmp_path)
        speaker.daemon.peers.append(PeerStatus(Peer(None, SessionOptions(65002), interface="eth0"), "active"))
        samples = [sample for metric in Measures(speaker, reload, md5).collect() for sample in metric.samples]
        return {sample.name: set(sample.labels) for sample in samples}

    assert documented == asyncio.run(collect())


def test_an_address_that_is_taken_is_said_and_no_end(tmp_path: Path) -> None:
    stream = io.StringIO()
    log.set_up("info", stream)

    async def listen() -> None:
        first, second = WebServer(*parts(tmp_path), History()), WebServer(*parts(tmp_path), History())
        with socket.create_server(("127.0.0.1", 0)) as taken:
            target = f"127.0.0.1:{taken.getsockname()[1]}"
            await first.listen(target)
        await second.listen(target)
        first.close()
        second.close()

    asyncio.run(listen())
    assert stream.getvalue().count('event="no metrics"') == 1
