"""Changes of a node's configuration, each of them a key or two, in the settings that the soak keeps of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.system.soak_model import RACKS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.system.soak_model import Settings, Side

    Edit = Callable[[Settings, random.Random], str]

SECRETS = ("", "first", "an0ther_s3cret")


def racks(settings: Settings, chance: random.Random) -> str:
    """A rack's peers are removed, or added again, before those of the other go."""
    gone = set(RACKS) - settings.racks
    settings.racks ^= gone or {chance.choice(RACKS)}
    return f"racks {sorted(settings.racks)}"


def service(settings: Settings, _chance: random.Random) -> str:
    settings.extra = not settings.extra
    return f"announce.prefixes {settings.extra}"


def attributes(settings: Settings, chance: random.Random) -> str:
    """Of everything, of pod addresses, or of VIPs."""
    number = settings.number
    name, manner = chance.choice(
        (("announce", settings.plain), ("announce.hosts", settings.hosts), ("anycast.pool", settings.pool))
    )
    match chance.choice(("communities", "med", "local-preference")):
        case "communities":
            communities = (f"{65000 + number}:100", f"{65000 + number}:1:2", "no-export")
            manner.communities = tuple(one for one in communities if chance.random() < 0.4) or None
        case "med":
            manner.med = chance.choice((None, 0, chance.randrange(100)))
        case _:
            manner.local_pref = chance.choice((None, 50, 150))
    return f"{name} {manner}"


def told(settings: Settings, chance: random.Random) -> str:
    """What one rack is told, and how."""
    side = _side(settings, chance)
    own = (settings.service, settings.subnets[1], f"198.51.{100 + settings.number}.0/24")
    match chance.choice(("reject", "communities", "med", "prepend")):
        case "reject":
            side.withheld = tuple(one for one in own if chance.random() < 0.3)
        case "communities":
            side.communities = (f"{65000 + settings.number}:9",) if not side.communities else ()
        case "med":
            side.med = chance.choice((None, 0, chance.randrange(100)))
        case _:
            side.prepend = chance.choice((0, 0, 1, 2))
    return f"export {side}"


def taken(settings: Settings, chance: random.Random) -> str:
    """What is taken of one rack, and which rack is preferred."""
    side = _side(settings, chance)
    if chance.random() < 0.5:
        nets = ("10.200.0.0/16", "10.244.0.0/16", "fd24::/16", "2001:db8::/32")
        side.refused = tuple(one for one in nets if chance.random() < 0.2)
    else:
        side.local_pref = chance.choice((0, 0, 50, 200))
    return f"import {side}"


def session(settings: Settings, chance: random.Random) -> str:
    """A timer, or words that change nothing."""
    side = _side(settings, chance)
    if chance.random() < 0.5:
        side.hold = chance.choice((9, 12, 30))
    else:
        side.description = chance.choice(("", "rack", 'the "other" one'))
    return f"session {side}"


def maximum(settings: Settings, chance: random.Random) -> str:
    settings.maximum = chance.choice((0, 0, 0, 3, 8))
    return f"accept.maximum {settings.maximum}"


def metric(settings: Settings, chance: random.Random) -> str:
    settings.metric = chance.choice((1190, 1234, 900))
    return f"kernel.metric {settings.metric}"


def stale(settings: Settings, chance: random.Random) -> str:
    settings.stale = chance.choice((10, 20))
    return f"timers.stale-routes {settings.stale}"


def _side(settings: Settings, chance: random.Random) -> Side:
    return settings.sides[chance.choice(RACKS)]


EDITS: tuple[Edit, ...] = (
    racks,
    racks,
    service,
    service,
    attributes,
    attributes,
    told,
    told,
    taken,
    session,
    maximum,
    metric,
    stale,
)
