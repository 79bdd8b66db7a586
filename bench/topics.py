"""Which benchmarks there are: the table that `bench/run.sh` runs and the page is ordered by."""

from __future__ import annotations

from dataclasses import dataclass

PLUGIN, SPEAKER, TRAFFIC, SCALE, ANYCAST = "plugin", "speaker", "traffic", "scale", "anycast"


@dataclass(frozen=True)
class Topic:
    """One module that takes --json and --quick, and the table of docs/performance.md that its rows are in."""

    name: str
    table: str
    what: str

    @property
    def module(self) -> str:
        """Its command is `python -m` and this."""
        return f"bench.{self.name}"


TOPICS = (
    Topic("attach", PLUGIN, "ADD and DEL, one pod at a time"),
    Topic("parallel", PLUGIN, "sixteen pods at a time"),
    Topic("held", PLUGIN, "ADD and DEL against the number of allocations held"),
    Topic("limits", PLUGIN, "bandwidth and a port mapping, in one call and in three"),
    Topic("verbs", PLUGIN, "STATUS and VERSION"),
    Topic("cost", PLUGIN, "memory and processor time"),
    Topic("vips", SPEAKER, "virtual IPs: to the rack, back after a restart of gobgpd, and at rest"),
    Topic("checks", SPEAKER, "health checks of each kind"),
    Topic("routes", SPEAKER, "learned routes to the kernel, and paths from a peer's first update on"),
    Topic("throughput", TRAFFIC, "from a pod of one node to one of another, beside plain routing and VXLAN"),
    Topic(
        "anycast", ANYCAST, "virtual IPs in labs of FRR: shares, flows that stay, fail-over, drains; an hour"
    ),
    Topic("scale", SCALE, "one node among up to 5,000 simulated peers, in each design of a cluster"),
)
