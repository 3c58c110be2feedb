"""The variants of a case: the transport and its mode, the number of queues, the address family, the MTU."""

import dataclasses
import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from ipv6 import has_ipv6

PORT = 9001
DPDK = ("dpdk-af-packet", "dpdk-af-xdp")
EAL = "--no-pci --no-huge --no-shconf --no-telemetry -m 512"  # requires no setup of the machine and leaves no files
INTERFACE = "vb"  # the server's end of the veth pair; the clients' end is va


@dataclasses.dataclass(frozen=True)
class Variant:
    """One combination. `mode` says how the XDP program of af-xdp is attached; other transports ignore it."""

    transport: str = "af-xdp"
    mode: str = "native"
    queues: int = 1
    family: str = "v4"
    mtu: int = 1500

    def __str__(self):
        mode = f" {self.mode}" if self.transport == "af-xdp" else ""
        queues = f"{self.queues} queue{'s' if self.queues > 1 else ''}"
        return f"{self.transport}{mode}, {queues}, {self.family}, MTU {self.mtu}"

    @property
    def bypass(self):
        """Whether the server has TCP in user space."""
        return self.transport != "sockets"

    @property
    def dpdk(self):
        """The driver of DPDK that it uses, if any: af-packet or af-xdp."""
        return self.transport.removeprefix("dpdk-") if self.transport in DPDK else None

    @property
    def server(self):
        """The server's address."""
        return "fd77::2" if self.family == "v6" else "10.77.0.2"

    @property
    def client(self):
        return "fd77::1" if self.family == "v6" else "10.77.0.1"

    @property
    def sources(self):
        """Addresses of the clients' side that count as different sources: IPv6 ones are counted by /64."""
        if self.family == "v6":
            return ["fd77::1", "fd77:0:0:1::1", "fd77:0:0:2::1"]
        return ["10.77.0.1", "10.77.0.11", "10.77.0.12"]

    def url(self, tls=False):
        return f"{'wss' if tls else 'ws'}://{joined(self.server)}"

    def options(self):
        """The options of the command line that choose this variant."""
        return (f"--transport {self.transport} --mode {self.mode} --queues {self.queues} "
                f"--family {self.family} --mtu {self.mtu}")

    def listen(self):
        """Where it listens. The address of the family comes first, since the first address of the line that the server prints is
        the one that is used."""
        v4, v6 = joined("10.77.0.2"), joined("fd77::2")
        addresses = [v6, v4] if self.family == "v6" else [v4, v6] if self.bypass or has_ipv6() else [v4]
        return [word for address in addresses for word in ("--listen", address)]

    def serve(self, shared=False, verify=True, control="none"):
        """The arguments of `hioload serve` that say where it listens. `verify`: it verifies checksums of received frames, which it
        does not by default on a veth."""
        words = [*self.listen(), "--control", control]
        if not self.bypass:
            return [*words, "--lcores", str(self.queues)]
        words += ["--ip", "10.77.0.2/24", "--ip", "fd77::2/64"]
        if self.dpdk:
            return [*words, "--transport", "dpdk", "--dpdk-args", f"{EAL} --vdev={self.device()}",
                    "--queues", str(self.queues), "--mtu", str(self.mtu)]
        words += ["--transport", "af-xdp", "--interface", INTERFACE, "--xdp-mode", self.mode,
                  "--queues", ",".join(map(str, range(self.queues)))]
        words += ["--share-address"] if shared else []
        return [*words, "--rx-checksum", "verify"] if verify else words


    def device(self):
        """The virtual device of DPDK on the interface."""
        if self.dpdk == "af-xdp":
            return f"net_af_xdp0,iface={INTERFACE},start_queue=0,queue_count={self.queues}"
        return f"net_af_packet0,iface={INTERFACE},qpairs={self.queues}"


def joined(address):
    """An address with the port of the tests."""
    return f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"


def product(transport):
    """All variants of a transport."""
    modes = ("native", "skb") if transport == "af-xdp" else ("native",)
    if transport in DPDK:  # neither driver of DPDK 22.11 takes jumbo frames, and net_af_xdp has one queue on a veth
        queues = (1,) if transport == "dpdk-af-xdp" else (1, 2)
        return [Variant(transport, "native", *rest) for rest in itertools.product(queues, ("v4", "v6"), (1500,))]
    return [Variant(transport, *rest) for rest in itertools.product(modes, (1, 2), ("v4", "v6"), (1500, 9000))]
