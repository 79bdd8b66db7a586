"""The status page: true on a node of a lab with an FRR rack, and whole in a browser, with scripts and without."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from lab import netns, rig
from lab.plan import plan
from lab.service import Service
from lab.topology import Layout, RackKind
from lab.waiting import until
from tests.system.conftest import unique_name
from tests.system.scrape import PORT, ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.installed import Installation
    from lab.rig import Lab

NODE = "node1"
URL = f"http://127.0.0.1:{PORT}/"
SECONDS = 60
WELL = "Everything is as configured"
CHROMIUM = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")


@pytest.fixture(scope="module")
def lab(installation: Installation) -> Iterator[Lab]:
    made = rig.Lab(plan(unique_name(), RackKind.FRR, Layout.ANYCAST), installation)
    try:
        made.up()
        yield made
    finally:
        rig.down(made.topology.name)


@pytest.fixture(scope="module")
def service(lab: Lab) -> Service:
    """Two pods on the node that serve."""
    service = Service(lab)
    service.add("one", NODE)
    service.add("two", NODE)
    shows(lab, WELL, "2 of 2", "2 / 2")
    return service


def page(lab: Lab, host: str = f"127.0.0.1:{PORT}") -> tuple[str, str]:
    try:
        return ask(lab.namespace(NODE), f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    except ConnectionError as error:  # the speaker is just about to start
        return str(error), ""


def shows(lab: Lab, *words: str) -> str:
    """The page, once all of these stand there."""
    status, found = until(
        lambda: page(lab),
        lambda answer: all(word in answer[1] for word in words),
        seconds=45,
        what=f"the page shows {words}",
    )
    assert status == "HTTP/1.1 200 OK"
    return found


def browse(lab: Lab, directory: Path, *words: str) -> str:
    """What the browser says of a page; it is ended after a minute, with all of its processes."""
    command = [*CHROMIUM, f"--user-data-dir={directory / 'profile'}", *words]
    with subprocess.Popen(
        netns.inside(lab.namespace(NODE), command),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "HOME": str(directory), "XDG_CONFIG_HOME": str(directory)},
        start_new_session=True,
    ) as browser:
        try:
            return browser.communicate(timeout=SECONDS)[0]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(browser.pid, signal.SIGKILL)


def test_a_node_that_is_well(lab: Lab, service: Service) -> None:
    found = shows(lab, WELL)
    assert found.count("✓ established") == 2
    for version in (4, 6):
        assert service.vip(version) in found
        assert service.prefix(version) in found
        assert f"1 of 1 IPv{version} peer " in found
    assert "rack1" in found
    assert "peer up" in found


def test_health_that_fails_is_shown_with_its_reason(lab: Lab, service: Service) -> None:
    files = [lab.place(NODE).directory / f"{pod}.health" for pod in ("one", "two")]
    files[0].write_text("fail")
    shows(lab, "1 of its 2 endpoints down", "HTTP 503", "endpoint down")
    files[1].write_text("fail")
    shows(lab, "✗ withdrawn", f"virtual IP {service.vip(4)} withdrawn: none of its endpoints here is healthy")
    for file in files:
        file.write_text("ok")
    shows(lab, WELL, "endpoint up")


@pytest.mark.usefixtures("service")
def test_what_happened_to_peers_and_gobgpd_is_shown(lab: Lab) -> None:
    gobgpd = lab.program(NODE, "gobgpd")
    pid = gobgpd.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    shows(lab, "not in step", "gobgpd lost", "lost 1 time")
    lab.place(NODE).socket.unlink(missing_ok=True)
    gobgpd.start()
    found = shows(lab, WELL, "lost 1 time<", "gobgpd connected")
    assert 'class="unknown"' in found


def test_a_name_of_somebody_elses_site_is_refused(lab: Lab) -> None:
    assert page(lab, f"rebound.example:{PORT}")[0] == "HTTP/1.1 403 Forbidden"
    assert page(lab, f"localhost:{PORT}")[0] == "HTTP/1.1 200 OK"


browser = pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no browser: install chromium")


@browser
def test_the_script_fetches_the_page_again(lab: Lab, service: Service, tmp_path: Path) -> None:
    """A clock of the browser's own runs ahead by 12 s: it has looked twice more, under the page's policy."""
    shows(lab, WELL)
    found = browse(lab, tmp_path, "--virtual-time-budget=12000", "--dump-dom", URL)
    assert found.count("✓ established") == 2
    assert service.vip(4) in found
    assert 'id="stale" class="note bad" hidden' in found


@browser
def test_all_is_there_without_scripts(lab: Lab, service: Service, tmp_path: Path) -> None:
    """The browser itself tells what it shows by a script, so that of the page alone is held back."""
    refused = '<meta http-equiv="Content-Security-Policy" content="script-src \'none\'">'
    file = tmp_path / "page.html"
    file.write_text(shows(lab, WELL).replace("<head>", f"<head>{refused}"), encoding="utf-8")
    found = browse(lab, tmp_path, "--dump-dom", file.as_uri())
    assert refused in found
    for words in ("✓ established", "✓ announced", service.vip(6), "rack1", "Last changes", "</svg>"):
        assert words in found


@browser
@pytest.mark.usefixtures("service")
def test_a_picture(lab: Lab, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    browse(lab, tmp_path, "--window-size=1180,1400", f"--screenshot={picture}", URL)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000  # an empty page has some 5 kB
