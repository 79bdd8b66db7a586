"""The capability `bandwidth`: a token bucket for what goes into the pod, and one for what comes out of it.

What goes in leaves the node's end of the veth pair, and waits there. What comes out enters the node's
end, where nothing can wait, so it is sent through an ifb device that has the bucket.
"""

from __future__ import annotations

from cni.attach import EEXIST, refused
from cni.errors import ALREADY_ATTACHED, CHECK_FAILED, INVALID_CONFIG, UNKNOWN_CONTAINER, CniError
from cni.link import link_up
from cni.tc import bucket, bucket_add, ifb_create, ingress_add, parse_bucket, qdisc_dump, redirect_add

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.attach import Kernel
    from cni.link import Link
    from cni.tc import Bucket

    # Into the pod, and out of it: bits per second and bits each, 0 and 0 for no limit.
    Limits = tuple[int, int, int, int]

# What is less than a byte a second lets nothing through.
LEAST_RATE = 8


def _bucket(direction: str, rate: int, burst: int) -> Bucket | None:
    if not rate:
        return None
    if rate < LEAST_RATE or burst < LEAST_RATE:
        key, value = ("Rate", rate) if rate < LEAST_RATE else ("Burst", burst)
        raise CniError(
            INVALID_CONFIG,
            f"runtimeConfig.bandwidth.{direction}{key}: {value} is less than {LEAST_RATE}; it counts bits",
        )
    return bucket(rate, burst)


def limit(kernel: Kernel, host: Link, limits: Limits, ifb: str, alias: str) -> Link | None:
    """Limits the pod behind `host`, the node's end; returns the ifb device where one is needed.

    The device has the hardware address of `host`, by which whoever undoes an ADD knows both.
    """
    into, out = _bucket("ingress", *limits[:2]), _bucket("egress", *limits[2:])
    device = None
    messages = [bucket_add(host.index, into)] if into else []
    try:
        if out:
            device = _device(kernel, host, ifb)
            messages += [
                bucket_add(device.index, out),
                link_up(device.index, alias),
                ingress_add(host.index),
                redirect_add(host.index, device.index),
            ]
        kernel.socket.request(messages)
    except OSError as error:
        raise refused(f"the bandwidth limits of {host.name}", error) from None
    return device


def _device(kernel: Kernel, host: Link, ifb: str) -> Link:
    try:
        kernel.socket.request([ifb_create(ifb, host.address, host.mtu)])
    except OSError as error:
        if error.errno == EEXIST:
            raise CniError(
                ALREADY_ATTACHED, f"{ifb} is left over from an earlier pod; run DEL, then ADD"
            ) from None
        raise
    device = kernel.link(ifb)
    if device is None or device.address != host.address:
        raise CniError(UNKNOWN_CONTAINER, f"{ifb} was removed by a DEL during this ADD")
    return device


def check(kernel: Kernel, host: str, ifb: str, limits: Limits) -> None:
    """CniError 104 where the limits at these links are not as `limit` left them."""
    for direction, name, rate, burst in (("ingress", host, *limits[:2]), ("egress", ifb, *limits[2:])):
        wanted = _bucket(direction, rate, burst)
        if wanted is not None and _found(kernel, name) != wanted:
            raise CniError(
                CHECK_FAILED,
                f"{name} lost the {direction} limit of {rate} bit/s; delete the pod, so that it is made anew",
            )


def _found(kernel: Kernel, name: str) -> Bucket | None:
    link = kernel.link(name)
    if link is None:
        return None
    for _, payload in kernel.socket.dump(qdisc_dump(link.index)):
        found = parse_bucket(payload, link.index)
        if found is not None:
            return found
    return None
