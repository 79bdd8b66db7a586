"""What system tests share: the installed prefix, and labs that are taken down whatever happens."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from lab import rig
from lab.installed import PLUGIN, Installation
from lab.plan import plan
from tests.system.compare_rig import REFERENCE, Both, Side
from tests.system.containerd_rig import Containerd
from tests.system.machine_rig import make_root
from tests.system.plugin_node import Node
from tests.system.pod_image import PodImage, build
from tests.system.probe_rig import Probes
from tests.system.runtime_host import RuntimeHost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.rig import Lab
    from lab.topology import RackKind

SOURCE = Path(__file__).resolve().parents[2]
NUMBERS = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def _sigterm_cleans_up() -> Iterator[None]:
    """Ends the run as Ctrl-C does, so that fixtures still take down what they made."""

    def end(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this tree is installed: ANYPOD_PREFIX, or a temporary one that is made now."""
    given = os.environ.get("ANYPOD_PREFIX")
    if given:
        return Path(given)
    made = tmp_path_factory.mktemp("prefix")
    subprocess.run([str(SOURCE / "install.sh"), "--prefix", str(made)], check=True, timeout=300)
    return made


@pytest.fixture(scope="session")
def machine_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system for machines to be copies of."""
    made = tmp_path_factory.mktemp("machine") / "root"
    make_root(made)
    return made


@pytest.fixture(scope="session")
def installation(prefix: Path) -> Installation:
    return Installation(prefix / PLUGIN, (str(prefix / "usr/local/bin/anypod"),))


def unique_name() -> str:
    """A lab name that no other test run has."""
    return f"t{os.getpid()}n{next(NUMBERS)}"


@pytest.fixture
def lab_name() -> Iterator[str]:
    """A name for a lab that the test makes itself; nothing of it stays."""
    name = unique_name()
    try:
        yield name
    finally:
        rig.down(name)


@pytest.fixture(scope="module")
def make_lab(installation: Installation) -> Iterator[Callable[[RackKind], Lab]]:
    """Brings labs up that stand until the end of the module."""
    names: list[str] = []

    def make(rack: RackKind) -> Lab:
        made = rig.Lab(plan(unique_name(), rack), installation)
        names.append(made.topology.name)
        made.up()
        return made

    try:
        yield make
    finally:
        for name in names:
            rig.down(name)


@pytest.fixture
def node(installation: Installation, tmp_path: Path) -> Iterator[Node]:
    """A bare node with the installed plugin and a state directory of its own."""
    made = Node(installation.plugin, tmp_path / "state")
    made.up()
    try:
        yield made
    finally:
        made.down()


@pytest.fixture
def both(installation: Installation, tmp_path: Path) -> Iterator[Both]:
    """The distribution's reference plugins and ours, each with a bare node of its own."""
    plugins = (Path(REFERENCE) / "bridge", installation.plugin)
    made = Both(*(Side.of(plugin, tmp_path / plugin.name) for plugin in plugins))
    try:
        made.reference.up()
        made.ours.up()
        yield made
    finally:
        made.reference.down()
        made.ours.down()


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probes]:
    """A namespace whose servers are probed from within."""
    probes = Probes(tmp_path_factory.mktemp("probes"))
    try:
        yield probes
    finally:
        probes.close()


@pytest.fixture(scope="session")
def pod_image(tmp_path_factory: pytest.TempPathFactory) -> PodImage:
    """The image of the containers that runtimes start."""
    return build(tmp_path_factory.mktemp("image"), os.uname().machine)


@pytest.fixture
def runtime_host(installation: Installation, tmp_path: Path, pod_image: PodImage) -> Iterator[RuntimeHost]:
    """A node for a container runtime; all that the runtime made is gone afterwards."""
    made = RuntimeHost(installation.plugin, tmp_path / "state", pod_image.program)
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture
def containerd(runtime_host: RuntimeHost, tmp_path: Path, pod_image: PodImage) -> Iterator[Containerd]:
    """containerd on that node, not configured and not started yet."""
    made = Containerd(runtime_host, tmp_path, pod_image)
    try:
        yield made
    finally:
        made.close()
