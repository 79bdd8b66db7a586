"""The known differences to the reference plugins: docs/compatibility.md shows and explains exactly these."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """A difference: where it is seen (a pattern of keys), what each side shows there, and why.

    `seen` and `ours` are patterns of the two values; `reference`, `anypod` and `why` are the page's words.
    """

    keys: str
    seen: str
    ours: str
    reference: str
    anypod: str
    why: str

    def row(self) -> str:
        """As docs/compatibility.md shows it."""
        return f"| {self.reference} | {self.anypod} | {self.why} |"

    def covers(self, key: str, one: object, other: object) -> bool:
        """Whether this is what `key` shows with `one` at the reference's side and `other` at ours."""
        pairs = ((self.keys, key), (self.seen, str(one)), (self.ours, str(other)))
        return all(re.fullmatch(pattern, text) for pattern, text in pairs)


HOST = r"node\.links\.host\(.*\)"

KNOWN: dict[str, Known] = {
    "host-name": Known(
        HOST + r"\.alias",
        "",
        r"anypod \S+ \S+/\S+",
        "the node's end of a pair has a random name, `veth` and eight digits, and no alias",
        "its name follows from container id and interface name; its alias names network, container and interface",
        "DEL and GC find the link without a record, and `ip link` tells an operator whose it is",
    ),
    "host-mac": Known(
        HOST + r"\.mac",
        "local unicast, made by the kernel",
        "local unicast, set",
        "the kernel makes up the hardware address of the node's end",
        "anypod makes it up",
        "by it an ADD tells its own link from one that a later ADD of the same attachment made",
    ),
    "pod-mac": Known(
        r"pod\.links\.eth0\.mac",
        "local unicast, made by the kernel",
        "(0a:58 and an address|local unicast), set",
        "a pod's hardware address is random",
        "it follows from the pod's first address, where none is asked for",
        "a neighbour that has the last pod with this address in its table reaches the new one at once",
    ),
    "txqlen": Known(
        r".*\.links\.(host\(.*\)|eth0)\.txqlen",
        r"\(absent\)",
        "1000",
        "veth interfaces have a transmit queue of length 0 (mended in 1.6.0)",
        "the kernel's default, 1000",
        "a traffic shaper that takes its limit from it drops everything at 0",
    ),
    "queues": Known(
        r".*\.links\.(host\(.*\)|eth0)\.num_[rt]x_queues",
        r"\d+",
        "1",
        "veth interfaces have room for a queue per processor, of which one is in use",
        "they have the one",
        "the kernel gives the others up at once, and waits for that twice; `ethtool -L` can't bring them back",
    ),
    "bridge-dad": Known(
        r"node\.links\.cni0\.addresses\.fd.*\.nodad|node\.sysctls\.net/ipv6/conf/cni0/accept_dad",
        r"\(absent\)|1",
        "True|0",
        "the bridge's IPv6 gateway waits for duplicate address detection, up to two seconds",
        "it does not",
        "the first pod needs its gateway when ADD returns",
    ),
    "pod-nodad": Known(
        r"pod\.links\.eth0\.addresses\.fd.*\.nodad",
        r"\(absent\)",
        "True",
        "without `enabledad`, detection is switched off for the pod's interface",
        "the address itself is marked as well (`nodad`)",
        "it is usable at once also where the pod's /proc/sys can't be written",
    ),
    "keep-addr-on-down": Known(
        r"pod\.sysctls\.net/ipv6/conf/eth0/keep_addr_on_down",
        "0",
        "1",
        "a pod's IPv6 addresses are lost when its interface is set down (mended in 1.7.0)",
        "they stay",
        "a later plugin of the list, `tuning` for one, sets the interface down to change it",
    ),
    "bridge-mac": Known(
        r"node\.links\.cni0\.mac",
        "local unicast, made by the kernel",
        "local unicast, set",
        "a bridge without a gateway address takes the hardware address of its lowest port, which changes with the pods",
        "its hardware address stays",
        "neighbours would keep the old one for half a minute",
    ),
    "layer-2-of-old": Known(
        "attached without an address",
        "False",
        "True",
        "without `ipam`, CNI 0.1.0 and 0.2.0 fail behind the attachment, for a result without an address",
        "the result has none",
        "the attachment is what was asked for",
    ),
    "order-of-reuse": Known(
        "given",
        r"10\.244\.1\.3/29",
        r"10\.244\.1\.5/29",
        "behind the last address that was given, the next free one",
        "addresses that were never used, then the one that came back longest ago",
        "what outside remembers of a pod (connections, DNS, logs) has the longest time to be forgotten",
    ),
    "several-ipv4-subnets": Known(
        "attached",
        "False",
        "True",
        "a bridge with an IPv4 address of another subnet is refused",
        "it gets the gateway beside it, unless the subnets overlap",
        "a node may have several ranges; `forceAddress` removes the other address on both sides",
    ),
    "masquerade-rules": Known(
        "rules for another pod|rules end with the pod",
        "True",
        "False",
        "`ipMasq` makes a chain and rules of iptables for each pod, and takes them away with it",
        "one nftables table for the node, with a set of subnets",
        "each iptables rule costs tens of milliseconds of ADD and DEL; what a peer sees is the same",
    ),
    "ip-masq-backend": Known(
        "code",
        "0",
        "2",
        "masquerades by iptables, whatever `ipMasqBackend` says (the key is from 1.6.0)",
        "`iptables` is refused",
        "there is one nftables table for the node; a wish that is not served is not dropped in silence",
    ),
    "default-route-twice": Known(
        r"attached|held.*",
        r"False|\[\]|\(absent\)",
        r"True|10\.244\.1\.2|\(absent\)",
        "`isDefaultGateway` beside a default route without `gw` in `ipam.routes` fails: file exists",
        "that route stands for both",
        "both ask for the same route",
    ),
    "resolv-conf": Known(
        r"dns.*",
        r"\{\}|\(absent\)",
        r"\(absent\)|192\.0\.2\.53|ndots:5|[ab]\.example\.org",
        "`ipam.resolvConf` is read and not told (mended in 1.2.0)",
        "it is in the result, where the netconf has no `dns`",
        "that is what the key is for",
    ),
    "network-address": Known(
        "given",
        r"10\.244\.1\.(0|255)/24",
        r"10\.244\.1\.2/24|none",
        "`rangeStart` and `rangeEnd` may be the network and the broadcast address, and pods get them",
        "those two are given to nobody",
        "a node does not deliver to such a pod",
    ),
    "unusable-subnet": Known(
        "code",
        "0|999",
        "7",
        "multicast, loopback and link-local subnets are given to pods, or fail in the middle of ADD",
        "code 7",
        "no pod can use such an address",
    ),
    "unusable-gateway": Known(
        "code",
        "0|999",
        "7",
        "a gateway outside of its subnet, or two for one subnet, are put on the bridge or fail there",
        "code 7, where the bridge should have it",
        "one of them could never be reached",
    ),
    "route-attributes": Known(
        r"metric.*",
        r"0|\[\]|\(absent\)",
        r"5|1300|1200|\(absent\)",
        "attributes of `ipam.routes` are dropped (1.6.0 sets `priority`, `table` and `scope`)",
        "`mtu`, `advmss`, `priority`, `table` and `scope` are set in the pod, told from CNI 1.1.0 on",
        "the specification has them since 1.1.0",
    ),
    "data-dir": Known(
        "given",
        r"10\.244\.1\.3/24",
        r"10\.244\.1\.2/24",
        "reservations are files in `ipam.dataDir`",
        "they are in the state file, and those of host-local are not read",
        "the state file ends with the boot, as pods do; see [migration.md](migration.md)",
    ),
    "args-before-cni-args": Known(
        r"refused|held.*",
        r"True|\[\]|\(absent\)",
        r"False|10\.244\.1\.78|\(absent\)",
        "addresses of `CNI_ARGS`, `args.cni` and `runtimeConfig` are all asked for",
        "for each family the first of `runtimeConfig`, `args.cni` and `CNI_ARGS` that asks",
        "CNI's conventions: `args` goes before `CNI_ARGS`. Two addresses of one range set can't be given",
    ),
    "args-of-both": Known(
        "attached with it alone",
        "False",
        "True",
        "`IP` or `MAC` in `CNI_ARGS` needs `IgnoreUnknown=1`: one of the two plugins does not know it",
        "it does not",
        "anypod knows both",
    ),
    "args-without-key": Known(
        "attached",
        "True",
        "False",
        "`CNI_ARGS` may have a value without a key",
        "code 4",
        "it is a slip, and what it should have said is lost",
    ),
    "failed-add": Known(
        r"interface left in the pod",
        "True",
        "False",
        "after an ADD that failed the pod has the interface until DEL",
        "a failed ADD takes back all that it made",
        "a runtime may try again, and some never say DEL for an ADD that failed",
    ),
    "error-code": Known(
        r"error\.code",
        "999",
        "[1-9]|11|10[0-9]",
        "nearly every refusal has code 999",
        "a code that tells what kind of refusal it is, and a message with key, value and fix",
        "runtimes and operators can act by the code; 999 is left for defects of anypod",
    ),
    "error-version": Known(
        r"error\.cniVersion",
        "",
        r"[01]\.[0-4]\.[01]",
        "an error object has no `cniVersion`",
        "it has the configuration's",
        "the specification asks for it",
    ),
}

ATTACHED = frozenset({"host-name", "host-mac", "pod-mac", "txqlen", "queues"})
V6_POD = frozenset({"pod-nodad", "keep-addr-on-down"})
GATEWAY6 = frozenset({"bridge-dad"})
REFUSED = frozenset({"error-code", "error-version"})


@dataclass(frozen=True, slots=True)
class Later:
    """What the distribution's version does not know: since when the reference has it, and what anypod does."""

    what: str
    since: str
    anypod: str

    def row(self) -> str:
        """As docs/compatibility.md shows it."""
        return f"| {self.what} | {self.since} | {self.anypod} |"


LATER = (
    Later("`vlanTrunk`, `preserveDefaultVlan`", "1.3.0", "the same; not in VLANs of a kernel that has none"),
    Later("`disableContainerInterface`", "1.4.1", "the same; together with `ipam` it is code 7"),
    Later("`ipMasqBackend: nftables`", "1.6.0", "the same effect, by one table for the node"),
    Later("CNI 1.1.0", "1.6.0", "served; the result tells the `mtu` of its interfaces as well"),
    Later("STATUS", "1.6.0", "served; beside the delegated plugin, the node itself is looked at"),
    Later("`portIsolation`", "1.7.0", "the same"),
    Later("GC", "no version", "served"),
)
