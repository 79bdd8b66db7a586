"""`anypod drain` and `undrain`: ask others to take over what this node serves, wait, and withdraw it."""

from __future__ import annotations

import sys
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click

from speaker.anycast import drainfile
from speaker.anycast.drain import Drain, Scope
from speaker.commands.common import MISTAKEN, NOT_WELL, debug_option, state_dir_option

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cni.allocation import Allocation

F = TypeVar("F", bound="Callable[..., None]")

# Exit status: not drained in time, or nobody there to do it.
NOT_DONE = NOT_WELL
# Seconds.
LOOK = 0.25
# Beyond the time that the drain itself takes: for withdrawing, and for a speaker that is just being restarted.
GRACE = 30.0


def _options(command: F) -> F:
    for option in (
        debug_option,
        state_dir_option,
        click.option("--node", "node", is_flag=True, help="All virtual IPs of this node."),
        click.option("--pod", metavar="POD", help="One pod of it: NAMESPACE/NAME, or its container id."),
        click.option("--vip", metavar="ADDRESS", help="One virtual IP on this node."),
    ):
        command = option(command)
    return command


@click.command()
@_options
@click.option("--wait/--no-wait", default=True, show_default=True, help="Return when it is withdrawn.")
def drain(vip: str | None, pod: str | None, node: bool, state_dir: str, wait: bool) -> None:
    """Move traffic for virtual IPs away from this node, without harm to connections.

    First peers are told GRACEFUL_SHUTDOWN and a worse preference, so that they take other ways; after anycast.drain
    seconds the address is withdrawn. A pod gets no new connections at once, and none at all after that time. It
    outlives restarts of the speaker, and ends with the node's boot, or by undrain.

    Example: anypod drain --pod default/web

    Exit status: 0 done, 1 not done (in time), 2 a mistake in the call.
    """
    scope = _scope(vip, pod, node)
    targets = _targets(scope, vip or pod or "", state_dir)
    started = drainfile.now()
    wanted = {(scope, of): Drain(scope, of, name, started) for of, name in targets}

    def edit(drains: tuple[Drain, ...]) -> list[Drain]:
        held = {(one.scope, one.of) for one in drains}
        return [*_alive(drains, state_dir), *(one for key, one in wanted.items() if key not in held)]

    _change(state_dir, edit)
    if wait:
        _wait(state_dir, set(wanted))


@click.command()
@_options
def undrain(vip: str | None, pod: str | None, node: bool, state_dir: str) -> None:
    """Take a drain back: the node, virtual IP or pod serves again.

    Example: anypod undrain --pod default/web

    Exit status: 0 done; 1 there is no such drain, or it can't be ended; 2 a mistake in the call.
    """
    scope = _scope(vip, pod, node)
    name = _vip(vip) if vip else pod or ""

    def is_meant(one: Drain) -> bool:
        return one.scope is scope and name in {one.of, one.name}

    found: list[Drain] = []

    def edit(drains: tuple[Drain, ...]) -> list[Drain]:
        found.extend(one for one in drains if is_meant(one))
        return [one for one in _alive(drains, state_dir) if not is_meant(one)]

    _change(state_dir, edit)
    if not found:
        _fail(f"nothing to undrain: no drain of {_shown(scope, name)} stands", NOT_DONE)
    click.echo(f"{_shown(scope, name)} serves again")


# ---- what is meant


def _scope(vip: str | None, pod: str | None, node: bool) -> Scope:
    if sum(map(bool, (vip, pod, node))) != 1:
        raise click.UsageError("say what: one of --vip ADDRESS, --pod POD and --node")
    if node:
        return Scope.NODE
    return Scope.VIP if vip else Scope.POD


def _vip(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise click.UsageError(f"--vip {text}: is no IP address; write it like 198.51.100.10") from None


def _targets(scope: Scope, name: str, state_dir: str) -> list[tuple[str, str]]:
    """What the drain is of, and its name: a pod may come back under its name, and is another one then."""
    if scope is Scope.NODE:
        return [("", "")]
    serving = [one for one in _attachments(state_dir) if one.vips]
    if scope is Scope.VIP:
        vip = _vip(name)
        known = sorted({held.ip for one in serving for held in one.vips})
        if vip not in known:
            _fail(f"--vip {name}: no pod of this node serves it; there is {_listed(known)}", MISTAKEN)
        return [(vip, vip)]
    found = [(one.container, one.pod or one.container) for one in serving if name in {one.pod, one.container}]
    if not found:
        known = sorted({one.pod or one.container for one in serving})
        _fail(f"--pod {name}: no such pod serves a virtual IP here; there is {_listed(known)}", MISTAKEN)
    return sorted(set(found))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) or "none at all"


def _attachments(state_dir: str) -> Sequence[Allocation]:
    from cni.reader import StateError, StateReader

    try:
        return StateReader(state_dir).allocations()
    except StateError as error:
        _fail(str(error), NOT_DONE)


def _alive(drains: tuple[Drain, ...], state_dir: str) -> list[Drain]:
    """Without those of pods that are gone."""
    if not any(one.scope is Scope.POD for one in drains):
        return list(drains)
    containers = {one.container for one in _attachments(state_dir)}
    return [one for one in drains if one.scope is not Scope.POD or one.of in containers]


def _change(state_dir: str, edit: Callable[[tuple[Drain, ...]], list[Drain]]) -> None:
    try:
        drainfile.change(state_dir, edit)
    except (OSError, ValueError) as error:
        _fail(
            f"{state_dir}/{drainfile.FILE} can't be changed: {error}; run this as root, or remove the file",
            NOT_DONE,
        )


# ---- what becomes of it


def _wait(state_dir: str, wanted: set[tuple[Scope, str]]) -> None:
    """Until the speaker shows that all is withdrawn."""
    from speaker.ask import SilentError, ask

    until = time.monotonic() + GRACE
    phase = ""
    while True:
        try:
            document = ask(state_dir)
        except SilentError as error:
            if time.monotonic() > until:
                _fail(
                    f"the speaker does not answer: {error}; the drain stands, and begins when it is back",
                    NOT_DONE,
                )
            time.sleep(LOOK)
            continue
        if "drains" not in document:
            _fail("the speaker is of a release without drains; restart it: the drain stands", NOT_DONE)
        shown = {(Scope(one["scope"]), one["of"]): one for one in document["drains"]}
        mine = [shown[key] for key in wanted if key in shown]
        if phase and len(mine) < len(wanted):
            _fail("the drain was taken back meanwhile, by anypod undrain", NOT_DONE)
        if len(mine) == len(wanted) and all(one["done"] for one in mine):
            click.echo(f"drained: {', '.join(_shown(Scope(one['scope']), one['name']) for one in mine)}")
            return
        left = max((float(one["seconds_left"]) for one in mine), default=0.0)
        told = f"peers are asked to take other ways, {left:.0f} s to go" if left else "withdrawing"
        if mine and (not phase or (phase != told and not left)):
            phase = told
            click.echo(told)
        if left:
            until = time.monotonic() + left + GRACE
        if time.monotonic() > until:
            _fail("not drained in time; the journal of anypod-speaker tells why", NOT_DONE)
        time.sleep(LOOK)


def _shown(scope: Scope, name: str) -> str:
    return "this node" if scope is Scope.NODE else f"{scope.value} {name}"


def _fail(message: str, status: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(status)
