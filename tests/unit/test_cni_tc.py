"""Traffic control as bytes, with pyroute2 as the other reader; and a limit in the kernel's numbers."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from cni import tc
from cni.netlink import HEADER
from cni.tc import MOST, Bucket, bucket

RATES = st.integers(8, 1 << 62)
BURSTS = st.integers(8, MOST << 3)


def decoded(kind: Any, message: bytes) -> Any:
    found = kind(message)
    found.decode()
    return found


def test_the_ifb_device_is_down_and_has_no_queue() -> None:
    found = decoded(ifinfmsg, tc.ifb_create("anyb0", b"\x02\0\0\0\0\1", 1400))
    assert (found["header"]["type"], found["header"]["flags"], found["flags"]) == (16, 0x605, 0)
    names = ("IFLA_IFNAME", "IFLA_ADDRESS", "IFLA_MTU", "IFLA_TXQLEN")
    assert [found.get_attr(name) for name in names] == ["anyb0", "02:00:00:00:00:01", 1400, 0]
    assert found.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") == "ifb"


@given(st.integers(1, 1 << 30), st.integers(1, MOST), st.integers(0, MOST), st.integers(0, MOST))
def test_pyroute2_reads_our_bucket(index: int, rate: int, buffer: int, limit: int) -> None:
    found = decoded(tcmsg, tc.bucket_add(index, Bucket(rate, buffer, limit)))
    assert (found["index"], found["handle"], found["parent"]) == (index, 1 << 16, 0xFFFFFFFF)
    assert found.get_attr("TCA_KIND") == "tbf"
    told = found.get_attr("TCA_OPTIONS").get_attr("TCA_TBF_PARMS")
    assert (told["rate"], told["buffer"], told["limit"]) == (rate, buffer, limit)


@given(RATES, st.integers(0, MOST), st.integers(0, MOST))
def test_a_bucket_comes_back_as_it_was_written(rate: int, buffer: int, limit: int) -> None:
    written = Bucket(rate, buffer, limit)
    payload = tc.bucket_add(7, written)[HEADER.size :]
    assert tc.parse_bucket(payload, 7) == written
    assert tc.parse_bucket(payload, 8) is None


def test_another_qdisc_is_no_bucket() -> None:
    assert tc.parse_bucket(tc.ingress_add(7)[HEADER.size :], 7) is None


def test_everything_that_comes_in_is_redirected() -> None:
    found = decoded(tcmsg, tc.redirect_add(7, 9))
    assert (found["index"], found["parent"]) == (7, 0xFFFF0000)
    assert found["info"] == 1 << 16 | struct.unpack("=H", struct.pack(">H", 3))[0]
    options = found.get_attr("TCA_OPTIONS")
    (key,) = options.get_attr("TCA_U32_SEL")["keys"]
    assert (key["key_val"], key["key_mask"]) == (0, 0)
    action = options.get_attr("TCA_U32_ACT").get_attr("TCA_ACT_PRIO_1")
    assert action.get_attr("TCA_ACT_KIND") == "mirred"
    mirred = action.get_attr("TCA_ACT_OPTIONS").get_attr("TCA_MIRRED_PARMS")
    assert (mirred["eaction"], mirred["ifindex"], mirred["action"]) == (1, 9, 4)


@pytest.mark.parametrize(
    ("rate", "burst", "wanted"),
    [
        # 10 Mbit/s and 100 kB: 80 ms of tokens; a queue of 25 ms and the burst.
        (10_000_000, 800_000, Bucket(1_250_000, 1_250_000, 131_250)),
        # What kubelet asks for: a burst of 4,294,967,295 bits.
        (100_000_000, MOST, Bucket(12_500_000, 671_088_625, 537_183_411)),
        (8, 8, Bucket(1, 15_625_000, 1)),
    ],
)
def test_a_limit_in_the_numbers_of_the_kernel(rate: int, burst: int, wanted: Bucket) -> None:
    assert bucket(rate, burst) == wanted


@given(RATES, BURSTS)
def test_no_number_overflows_and_none_wraps(rate: int, burst: int) -> None:
    made = bucket(rate, burst)
    assert made.rate == rate // 8
    assert made.limit == min(made.rate // 40 + burst // 8, MOST)
    exact = (burst // 8) * 1_000_000_000 // made.rate // 64
    assert min(exact, MOST) - 16 <= made.buffer <= min(exact, MOST)
