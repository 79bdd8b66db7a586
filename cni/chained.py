"""Behind another plugin that made the pod's interface: anypod gives that pod virtual IPs, and nothing else.

Such an attachment has no link of ours and no row in table `address`, for the speaker announces what stands there.
Whether it is there still, its namespace says.
"""

from __future__ import annotations

import posix
from _signal import SIG_IGN, SIGTERM, signal  # type: ignore[import-not-found]

from cni.allocation import Allocation
from cni.anycast import virtual_ips
from cni.attach import Kernel, host_ifname, overtaken
from cni.errors import (
    ADDRESS_CONFLICT,
    ALREADY_ATTACHED,
    INVALID_CONFIG,
    UNSUPPORTED_FIELD,
    CniError,
)
from cni.netns import SELF, enter, identity, open_netns
from cni.prepared import remembered
from cni.request import parse_request
from cni.store import Store, state_dir
from cni.sysctl import ignore_redirects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.anycast import Endpoint
    from cni.network import Network, PodAddress
    from cni.request import Request
    from cni.results import Result
    from cni.spec import Call


def join(call: Call, conf: dict[str, object], version: str, earlier: Result) -> dict[str, object]:
    """ADD behind the plugin whose result `earlier` is; that result, as it came.

    CniError 2 where it is anypod's own, or where the netconf does not say that this is meant.
    """
    if any(one.name == host_ifname(call.container, call.ifname) for one in earlier.interfaces):
        raise CniError(
            UNSUPPORTED_FIELD,
            f"prevResult: anypod made {call.ifname} already; have one anypod in the list, and its anycast there",
        )
    request = parse_request(call, conf)
    netns = open_netns(call.netns, call.own_netns)
    store = Store(state_dir(conf))
    network = remembered(store, conf, version).network
    _check_keys(call, network, request)
    joining = Joining(call, network, request, store)
    try:
        joining.run(netns, addresses(earlier, call.ifname))
        signal(SIGTERM, SIG_IGN)
    except BaseException:
        joining.undo()
        raise
    store.close()
    previous = conf["prevResult"]
    return {"cniVersion": version, **previous} if isinstance(previous, dict) else {}


def alone(call: Call) -> CniError:
    """For an ADD of such a netconf where no plugin before this one made the interface."""
    return CniError(
        INVALID_CONFIG,
        f"anycast: without ipam, anypod gives virtual IPs to pods of the plugin before it in the list, and none made"
        f" {call.ifname}; put anypod behind that plugin, or set ipam",
    )


def _check_keys(call: Call, network: Network, request: Request) -> None:
    if not network.chained:
        raise CniError(
            UNSUPPORTED_FIELD,
            f"prevResult: an earlier plugin of the list made {call.ifname} already; put anypod first, or take that"
            " plugin out. To give its pods virtual IPs, set anycast, and leave ipam out",
        )
    for key, value in (("portMappings", request.ports), ("bandwidth", request.bandwidth)):
        if value:
            raise CniError(
                UNSUPPORTED_FIELD,
                f"runtimeConfig.{key}: anypod gives virtual IPs alone to the pods of another plugin; take {key}"
                " out of the capabilities of its entry in the list",
            )


def addresses(earlier: Result, ifname: str) -> list[PodAddress]:
    """The addresses of the pod's interface; those of no interface where it has none."""
    own = [
        address
        for address, index in earlier.ips
        if index >= 0 and earlier.interfaces[index].name == ifname and earlier.interfaces[index].sandbox
    ]
    return own or [address for address, index in earlier.ips if index < 0]


class Joining:
    """One ADD on its way; without virtual IPs nothing is recorded."""

    def __init__(self, call: Call, network: Network, request: Request, store: Store) -> None:
        self._call = call
        self._network = network
        self._request = request
        self._store = store
        self._kernel = Kernel()
        self._endpoint: Endpoint | None = None
        self._own_netns = posix.open(SELF, posix.O_RDONLY | posix.O_CLOEXEC)
        if request.vips or network.gives_vips:
            self._endpoint = virtual_ips(call, network, request, self._kernel)

    def run(self, netns: int, held: list[PodAddress]) -> None:
        """Records the attachment, puts the virtual IPs into the pod, and says so."""
        if self._endpoint is not None:
            self._reserve(self._endpoint, identity(posix.fstat(netns)), held)
        enter(netns)
        if Kernel().link(self._call.ifname) is None:
            raise CniError(
                INVALID_CONFIG,
                f"prevResult: it has {self._call.ifname}, and there is none in {self._call.netns}; see what the"
                " plugin before anypod does",
            )
        ignore_redirects(self._call.ifname)
        if self._endpoint is not None:
            self._endpoint.serve()
            if not self._endpoint.record(self._store):
                raise overtaken(self._call)

    def _reserve(self, endpoint: Endpoint, inode: int, held: list[PodAddress]) -> None:
        endpoint.route(held)
        try:
            self._attach(endpoint, inode)
        except CniError as error:
            if error.code not in (ALREADY_ATTACHED, ADDRESS_CONFLICT):
                raise
            self._store.rollback()
            from cni.reclaim import reclaim

            if not reclaim(self._store, self._kernel):
                raise
            self._attach(endpoint, inode)

    def _attach(self, endpoint: Endpoint, inode: int) -> None:
        call = self._call
        # No link of ours stands for it, so it has no name of one.
        record = Allocation(self._network.name, call.container, call.ifname, call.netns, "", ())
        record.netns_inode = inode
        record.pod = self._request.pod
        record.detail = self._request.detail() | {"vips": endpoint.texts()}
        self._store.begin()
        endpoint.refuse_taken(self._store)
        try:
            self._store.attach(record, call.started)
        except CniError as error:
            if error.code == ALREADY_ATTACHED:
                # The second anypod of a list finds the first one's record.
                error.message += ", and have anypod once in the list"
            raise
        self._store.commit()

    def undo(self) -> None:
        """Takes back what this ADD recorded and made, as far as it goes."""
        signal(SIGTERM, SIG_IGN)
        if self._endpoint is None or not self._store.recorded:
            return
        try:
            enter(self._own_netns)
            self._store.rollback()
            self._endpoint.undo(self._store, self._kernel)
            self._store.withdraw(self._call.container, self._call.ifname, self._call.started, lambda _: None)
        except (CniError, OSError):
            return  # the error that led here is the one to answer with
