"""A standing lab in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import daemons, netns, routing

if TYPE_CHECKING:
    from lab.rig import Lab


def describe(lab: Lab) -> list[str]:
    """Everything a person wants to know about a lab at first sight, as lines."""
    topology = lab.topology
    lines = [f"lab {topology.name}, rack: {topology.rack.value}, files: {lab.directory}"]
    for member in topology.members:
        lines.append(f"\n{member}  (namespace {topology.namespace(member)})")
        lines += [f"  {end.device}: {', '.join(map(str, end.addresses))}" for end in topology.ends(member)]
        if any(router.name == member for router in topology.routers):
            lines += _router(lab, member)
        for version in (4, 6):
            lines += [f"  {line}" for line in routing.route_table(lab.namespace(member), version)]
    for pod in lab.pods():
        found = netns.addresses(lab.namespace(pod), "eth0")
        lines.append(f"\npod {pod}  eth0: {', '.join(found) or 'none'}")
    return lines


def _router(lab: Lab, name: str) -> list[str]:
    lines = []
    for program in lab.programs(name):
        pid = program.pid()
        lines.append(f"  {program.name}: {f'runs, pid {pid}' if pid else 'does not run'}, log {program.log}")
    if daemons.is_anypod(lab.topology.router(name), lab.topology):
        for session in routing.sessions(lab.place(name).api):
            state = "established" if session.established else "not established"
            lines.append(f"  BGP {session.remote} AS {session.asn}: {state}")
    return lines
