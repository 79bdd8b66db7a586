"""What a plugin would record on a booted machine, as programs to run there."""

from __future__ import annotations

POD, VIP = "192.0.2.7", "198.51.100.7"
RECORD = """
from cni.allocation import Allocation
from cni.network import PodAddress, Range
from cni.statefile import now
from cni.store import Store
pool = Range(4, 0xC0000200, 24, 0xC0000201, 0xC00002FE, 0xC0000201)
store = Store("/run/anypod")
store.begin()
store.attach(Allocation("pods", "a", "eth0", "/run/netns/a", "host-a", ()), now())
store.hold("pods", PodAddress(bytes([192, 0, 2, 7]), 24, b""), pool.pool, ("a", "eth0"))
store.commit()
store.close()
"""
# A pod that serves a VIP, without a check. The rack stands for it: what counts is that it is on a link of the node.
SERVE = """
from cni.allocation import Allocation
from cni.statefile import now
from cni.store import Store
store = Store("/run/anypod")
store.begin()
store.attach(Allocation("pods", "v", "eth0", "/run/netns/v", "host-v", ()), now())
row = ("v", "eth0", bytes([198, 51, 100, 7]), bytes([10, 99, 1, 2]), 0x60000001, 1, "", "edge")
store.execute("INSERT INTO vip VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
store.commit()
store.close()
"""
