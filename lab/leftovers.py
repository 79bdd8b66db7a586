"""Whether a lab left anything on the machine: the machine before it, compared with the machine after it."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from lab import netns, rig
from lab.commands import run
from lab.errors import NotObservedError
from lab.topology import NAME, namespace_prefix
from lab.waiting import until

SECONDS = 10.0  # other programs may pass through the machine's namespace meanwhile; a real leftover stays
WATCHED = tuple(
    Path(path)
    for path in ("/run/anypod", "/etc/anypod", "/etc/cni/net.d", "/var/lib/cni", "/etc/frr", "/var/run/frr")
)
_OF_A_LAB = re.compile(f"anypod-{NAME.pattern}-")  # another lab's may come and go meanwhile


@dataclass(frozen=True, slots=True)
class Machine:
    """What is in the machine's own network namespace and in the places where this software keeps files."""

    links: frozenset[str]
    rules: frozenset[str]  # of policy routing and of nftables, as lines
    files: frozenset[str]
    mounts: frozenset[str]


def look(name: str) -> Machine:
    """The machine now, as far as lab `name` could change it."""
    links = json.loads(run(["ip", "-j", "link", "show"]) or "[]")
    entries = (entry for directory in WATCHED if directory.is_dir() for entry in directory.iterdir())
    ours = namespace_prefix(name)
    files = {
        str(entry) for entry in entries if entry.name.startswith(ours) or not _OF_A_LAB.match(entry.name)
    }
    own = rig.HOME / name
    files |= {str(path) for path in (own, *WATCHED, netns.DIRECTORY) if path.exists()}
    return Machine(
        links=frozenset(str(link["ifname"]) for link in links),
        rules=rules(),
        files=frozenset(files),
        mounts=_mounts(name),
    )


def rules() -> frozenset[str]:
    """Routing and packet filter rules of the namespace, without what changes by itself."""
    texts = [run(["ip", f"-{version}", "rule", "show"]) for version in (4, 6)]
    # Stateless: no counters, no time left of dynamic elements.
    texts.append(run(["nft", "--stateless", "list", "ruleset"]))
    return frozenset(line.strip() for text in texts for line in text.splitlines())


def _mounts(name: str) -> frozenset[str]:
    targets = (line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines())
    ours = (str(rig.HOME / name), str(netns.DIRECTORY / namespace_prefix(name)))
    return frozenset(
        target for target in targets if target.startswith(ours) or target == str(netns.DIRECTORY)
    )


def inodes(name: str) -> frozenset[int]:
    """Identities of a lab's namespaces, by which a process that outlives them is found."""
    return frozenset(
        (netns.DIRECTORY / found).stat().st_ino
        for found in netns.names()
        if found.startswith(namespace_prefix(name))
    )


def find(name: str, before: Machine, identities: frozenset[int]) -> tuple[str, ...]:
    """What lab `name` left behind, each in words; waits a little for it to go."""
    try:
        return until(
            lambda: _differences(name, before, identities),
            lambda left: not left,
            seconds=SECONDS,
            what="nothing is left",
        )
    except NotObservedError:
        return _differences(name, before, identities)


def _differences(name: str, before: Machine, identities: frozenset[int]) -> tuple[str, ...]:
    after = look(name)
    shared = _shared_by_others(name)
    left = [f"namespace {found}" for found in netns.names() if found.startswith(namespace_prefix(name))]
    left += [f"process {pid}" for pid in _processes_in(identities)]
    left += [f"link {link}" for link in sorted(after.links - before.links)]
    left += [f"rule {rule}" for rule in sorted(after.rules - before.rules)]
    left += [f"file {path}" for path in sorted(after.files - before.files - shared)]
    left += [f"mount {target}" for target in sorted(after.mounts - before.mounts - shared)]
    return tuple(left)


def _shared_by_others(name: str) -> frozenset[str]:
    """The directory of all namespaces is no leftover of ours while namespaces of somebody else are in it."""
    strangers = [found for found in netns.names() if not found.startswith(namespace_prefix(name))]
    return frozenset({str(netns.DIRECTORY)} if strangers else ())


def _processes_in(identities: frozenset[int]) -> tuple[int, ...]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "ns" / "net").stat().st_ino in identities:
                    found.append(int(entry.name))
    return tuple(found)
