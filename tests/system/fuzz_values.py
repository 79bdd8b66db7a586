"""What a fuzzer puts where something else belongs: values at every border that a netconf or environment has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

NUMBERS: list[Any] = [
    0, 1, 2, 3, 7, 15, 16, 64, 100, 127, 128, 255, 256, 1500, 4094, 4095, 4096, 9000, 32767, 32768, 65535, 65536,
    2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**40, 10**300,
    -1, -2, -128, -(2**31), -(2**63) - 1, 0.0, 0.5, -0.5, 1.5, 1e-300, 1e300, 1.7976931348623157e308,
]  # fmt: skip
TEXTS = [
    "", " ", "\t", "\n", "\x00", "\x01", "\x7f", "0", "-1", "1e3", "true", "null", "None", "{}", "[]", "a", "A" * 15,
    "a" * 16, "b" * 255, "b" * 256, "c" * 4096, "c" * 4097, "d" * 70000, ".", "..", "../x", "../../../etc/passwd",
    "/", "//", "/.", "/etc/passwd", "a/b", "a:b", "a%b", "%s%n%d", "a b", "a\nb", "a\x00b", "a;b", "a'b", 'a"b', "a\\b",
    "$(id)", "`id`", "--help", "-f", "=", "K=V", "\u00e9", "\u202e", "\ufeff", "\uffff", "\U0001f600", "\u0130",
    "\ud800", "\udfff", "\udcff", "all", "default", "lo", "eth0", "cni0", "br1", "anyp00000000000", "x" * 1000 + "/24",
]  # fmt: skip
ADDRESSES = [
    "0.0.0.0", "0.0.0.1", "1.2.3", "1.2.3.4", "1.2.3.4.5", "10.244.1.0", "10.244.1.1", "10.244.1.2", "10.244.1.77",
    "10.244.1.254", "10.244.1.255", "10.244.2.5", "010.244.001.009", "0x0a.1.2.3", "127.0.0.1", "169.254.1.1",
    "224.0.0.1", "255.255.255.255", "256.1.1.1", " 10.244.1.9", "10.244.1.9 ", "10.244.1.9\n", "10.244.1.9/24",
    "10.244.1.9/33", "10.244.1.9/-1", "10.244.1.9/", "10.244.1.9/024", "::", "::1", "fd00:1::", "fd00:1::1",
    "fd00:1::2", "fd00:1::ffff", "fd00:2::2", "fe80::1", "fe80::1%eth0", "fd00::1%", "ff02::1", "::ffff:10.244.1.9",
    "fd00:1::5/64", "fd00:1::5/129", ":::", "1:2:3:4:5:6:7:8:9", "fd00:1::\u0661", "\u0661\u0660.1.1.1",
]  # fmt: skip
SUBNETS = [
    "0.0.0.0/0", "10.0.0.0/8", "10.244.1.0/24", "10.244.0.0/16", "10.244.1.0/25", "10.244.1.128/25", "10.244.1.0/30",
    "10.244.1.0/31", "10.244.1.1/32", "10.244.1.0/33", "10.244.1.7/24", "10.244.1.0", "10.244.1.0/255.255.255.0",
    "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.252/30", "::/0", "fd00:1::/64", "fd00:1::/112",
    "fd00:1::/126", "fd00:1::/127", "fd00:1::1/128", "fd00:1::/129", "fe80::/64", "ff00::/8", "::1/128", "fd00:9::/48",
    "192.0.2.0/24", "198.51.100.4/30", "fd00:5::/120",
]  # fmt: skip
HARDWARE = [
    "0a:58:0a:f4:01:05", "0A:58:0A:F4:01:05", "02:00:00:00:00:01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff",
    "01:00:5e:00:00:01", "33:33:00:00:00:01", "0a580af40105", "0a-58-0a-f4-01-05", "0a:58:0a:f4:01", "0a:58:0a:f4:01:0",
    "0a:58:0a:f4:01:05:06", "0a:58:0a:f4:01:g5", "02:00:00:00:00:01\n", "00:00:00:00:fe:80:00:00",
]  # fmt: skip
VERSIONS = [
    "", "0.0.0", "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", "1.2.0", "2.0.0", "1.0", "1", "v1.0.0",
    "1.0.0-rc1", "1.0.0 ", "01.0.0", "99999999999999999999.0.0", "\u0661.0.0",
]  # fmt: skip

# Every key that the plugin or its relatives know, and that a mutation may put anywhere.
KEYS = (
    "cniVersion cniVersions name type bridge isGateway isDefaultGateway forceAddress hairpinMode promiscMode"
    " portIsolation ipMasq ipMasqBackend macspoofchk enabledad disableContainerInterface vlan vlanTrunk minID maxID id"
    " preserveDefaultVlan mtu requireSpeaker dns nameservers domain search options ipam subnet rangeStart rangeEnd"
    " gateway ranges routes dst gw advmss priority table scope resolvConf dataDir addresses address capabilities"
    " runtimeConfig ips mac ipRanges bandwidth ingressRate ingressBurst egressRate egressBurst portMappings hostPort"
    " containerPort protocol hostIP aliases args cni labels prevResult interfaces interface sandbox ip4 ip6 ip version"
    " servers searches io.kubernetes.cri.pod-annotations anypod.dev/x cni.dev/valid-attachments cni.dev/attachments"
    " containerID ifname stateDir anycast pools namespaces vips check weight anypod.dev/anycast"
).split()
PROTOCOLS = ["tcp", "udp", "sctp", "TCP", "", "icmp", "6", "tcp\x00", "tcpp"]


def _nested(depth: int, kind: type[Any]) -> Any:
    value: Any = kind()
    for _ in range(depth):
        value = [value] if kind is list else {"ipam": value}
    return value


def wrong(rng: Random) -> Any:
    """Any JSON value at all."""
    return rng.choice(
        (
            lambda: rng.choice((None, True, False)),
            lambda: rng.choice(NUMBERS),
            lambda: rng.randrange(-(2**33), 2**33),
            lambda: rng.choice(TEXTS),
            lambda: rng.choice(ADDRESSES + SUBNETS + HARDWARE + VERSIONS + PROTOCOLS),
            list,
            dict,
            lambda: [rng.choice(TEXTS + NUMBERS)] * rng.choice((1, 2, 65, 1025, 5000)),
            lambda: {rng.choice(KEYS): rng.choice(TEXTS + NUMBERS)},
            lambda: _nested(rng.choice((3, 60, 300)), rng.choice((list, dict))),
            lambda: {f"k{number}": number for number in range(rng.choice((3, 2000)))},
        )
    )()


def fitting(rng: Random, key: str, paths: list[str]) -> Any:
    """A value of the sort that belongs to the key, right or just beside it."""
    for names, values in (
        ("subnet dst", SUBNETS),
        ("rangeStart rangeEnd gateway gw address ips ip hostIP IP", ADDRESSES),
        ("mac MAC", HARDWARE),
        ("cniVersion", VERSIONS),
        ("stateDir resolvConf dataDir sandbox", paths),
        ("protocol", PROTOCOLS),
        ("name type bridge ifname containerID aliases domain", TEXTS),
    ):
        if key in names.split():
            return rng.choice(values)
    if rng.random() < 0.5:
        return rng.choice((True, False))
    return rng.choice(NUMBERS)


def junk(rng: Random, most: int) -> bytes:
    """Bytes without a meaning."""
    return rng.randbytes(rng.randrange(1, most))
