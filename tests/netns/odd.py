"""Cases: frames that the server or the kernel must not take, floods of requests for addresses, and claims on them."""

import random
import re
import socket
import struct
import time

import ws
from cases import BYPASS, case, just, one_mtu, spread
from frames import ACK, ARP, BROADCAST, IPV4, IPV6, RST, SERVICE_TAG, SYN, TAG, Wire, arp, arp_replies, ethernet, ipv4, ipv6
from frames import mac as packed_mac
from frames import resets, tcp
from lab import Lab, check, eventually
from variant import PORT

SETTLE = 0.5  # seconds in which every answer arrives
FLOOD_SECONDS = 3
FLOOD_BURST = 400  # frames every 20 ms: 20,000 a second
ASKED = 100  # requests of the gateway during a flood
SERVER = "10.77.0.2"


@case("a server without a VLAN: priority tags are taken, tags of VLANs and several tags are not", ci=spread(), all=one_mtu(),
      only=BYPASS)
def tags(variant, folder):
    with Lab(variant, folder) as lab:
        lab.serve()
        client = ws.Client(lab)
        wire = Wire(lab)
        probes = {
            "10.77.0.201": (),
            "10.77.0.202": ((TAG, 0),),
            "10.77.0.203": ((TAG, 0xE000),),
            "10.77.0.204": ((TAG, 666),),
            "10.77.0.205": ((TAG, 1),),
            "10.77.0.206": ((TAG, 0), (TAG, 0)),
            "10.77.0.207": ((TAG, 0), (TAG, 666)),
            "10.77.0.208": ((TAG, 666), (TAG, 0)),
            "10.77.0.209": ((SERVICE_TAG, 666),),
        }
        for sender, outer in probes.items():
            request = arp(1, wire.mac, sender, bytes(6), SERVER)
            wire.send(ethernet(BROADCAST, wire.mac, ARP, request, outer))
        answered = set(arp_replies(wire.received(SETTLE))) & set(probes)
        check(answered == {"10.77.0.201", "10.77.0.202", "10.77.0.203"}, f"answered: {sorted(answered)}")
        # The same with segments: a reset answers each that arrives.
        for number, (sender, outer) in enumerate(probes.items()):
            segment = tcp(variant.client, variant.server, 7000 + number, 9, ACK)
            kind, packet = ip(variant, segment)
            wire.send(ethernet(wire.server, wire.mac, kind, packet, outer))
        refused = set(resets(wire.received(SETTLE), 9))
        check(refused == {7000, 7001, 7002}, f"refused: {sorted(refused)}")
        client.echo(b"not disturbed")
        if variant.dpdk:  # the XDP program leaves the others to the kernel
            eventually("all others are counted", lambda: lab.stats()["tcp_rx_not_ours"] >= 2 * 6)
        client.close()
        lab.server.stop()
        if not variant.dpdk:
            counted = re.search(r"stacked_tags: (\d+)", lab.server.log.read_text())
            check(counted and int(counted[1]) >= 4, f"counted: {counted and counted[0]}")


def ip(variant, payload, protocol=socket.IPPROTO_TCP):
    if variant.family == "v6":
        return IPV6, ipv6(variant.client, variant.server, protocol, payload)
    return IPV4, ipv4(variant.client, variant.server, protocol, payload)


@case("a flood of ARP requests from strangers: each request of the gateway is answered", ci=just(queues=2), all=one_mtu(),
      only=BYPASS)
def arpflood(variant, folder):
    with Lab(variant, folder) as lab:
        lab.serve("--gateway", "10.77.0.1")
        bystander = ws.Client(lab)
        wire, chance = Wire(lab), random.Random(7)
        began, asked, answered = time.monotonic(), 0, 0
        while time.monotonic() - began < FLOOD_SECONDS and asked < ASKED:
            for _ in range(FLOOD_BURST):
                stranger = b"\x06" + chance.randbytes(5)
                sender = f"10.77.{chance.randrange(1, 250)}.{chance.randrange(1, 250)}"
                flood = ethernet(BROADCAST, stranger, ARP, arp(1, stranger, sender, bytes(6), SERVER))
                try:
                    wire.send(flood)
                except OSError:  # the ring on the other side is full
                    break
            wire.send(ethernet(BROADCAST, wire.mac, ARP, arp(1, wire.mac, "10.77.0.1", bytes(6), SERVER)))
            asked += 1
            answered += sum(target == "10.77.0.1" for target in arp_replies(wire.received(0.02)))
            bystander.echo(b"not disturbed")
        print(f"        {answered} of {asked} requests of the gateway answered", flush=True)
        eventually("the flood exceeds the limit", lambda: lab.stats()["tcp_discovery_limited"] > 100)
        # The ring of the interface may lose a few in the flood.
        check(answered >= asked * 8 // 10, f"{answered} of {asked} answered")
        bystander.close()
        lab.server.stop()


@case("another host claims an address of the server: logged, counted, defended once", ci=just(), all=one_mtu(), only=BYPASS)
def claim(variant, folder):
    with Lab(variant, folder) as lab:
        lab.serve()
        client = ws.Client(lab)
        wire, thief = Wire(lab), packed_mac("06:00:00:00:00:66")
        claims = [
            arp(1, thief, SERVER, bytes(6), SERVER),  # an announcement
            arp(1, thief, SERVER, bytes(6), "10.77.0.1"),  # a request of another address, from ours
            arp(2, thief, SERVER, wire.mac, "10.77.0.1"),  # a reply
        ]
        time.sleep(3)  # the announcements at the start are over
        list(wire.received(0.1))
        for packet in claims * 3:
            wire.send(ethernet(BROADCAST, thief, ARP, packet))
        defended = [frame for frame in wire.received(1) if frame[12:14] == b"\x08\x06" and frame[6:12] == wire.server]
        check(len(defended) == 1, f"{len(defended)} frames defend the address")
        eventually("the claims are counted", lambda: lab.stats()["tcp_address_conflicts"] == 9)
        client.echo(b"not disturbed")
        client.close()
        lab.server.stop()
        said = [line for line in lab.server.log.read_text().splitlines() if "another host claims" in line]
        check(len(said) == 1 and "06:00:00:00:00:66" in said[0] and SERVER in said[0], f"the log says {said}")


@case("the address shared with the kernel, which gets segments of the server in odd forms: no reset", ci=spread(), all=one_mtu(),
      only=("af-xdp",))
def oddshared(variant, folder):
    with Lab(variant, folder, shared=True) as lab:
        lab.serve()
        client = ws.Client(lab)
        client.echo(b"before")
        wire = Wire(lab)
        # A port without a listener: the kernel refuses it, so its resets are seen here.
        wire.send(ethernet(wire.server, wire.mac, *ip(variant, tcp(variant.client, variant.server, 7000, 4, ACK))))
        check(list(resets(wire.received(SETTLE), 4)) == [7000], "the kernel's resets are not seen")
        peer = client.socket.getsockname()[1]
        for _ in range(3):
            for source_port in (peer, 7001):
                for frame in odd_segments(variant, wire, source_port):
                    wire.send(frame)
        # The server itself refuses a segment of no connection. Of the connection it ignores all.
        own = list(resets(wire.received(SETTLE), PORT))
        check(peer not in own, "the connection was reset")
        client.echo(ws.noise(1, 100_000))
        said = lab.far.run("nstat", "-asz", "TcpOutRsts")
        sent = [int(line.split()[1]) for line in said.splitlines() if line.startswith("TcpOutRsts")]
        check(sent == [1], f"the kernel has sent {sent} resets")
        client.close()
        lab.server.stop()


def odd_segments(variant, wire, source_port):
    """Segments for the server's port that the kernel would refuse, in every form that it would understand."""
    segment = tcp(variant.client, variant.server, source_port, PORT, ACK, sequence=12345, acknowledged=54321, payload=b"x" * 32)
    syn = tcp(variant.client, variant.server, source_port, PORT, SYN, sequence=12345, acknowledged=0)
    reset = tcp(variant.client, variant.server, source_port, PORT, RST | ACK, sequence=12345)
    whole = ip(variant, segment)

    def framed(kind, packet, *outer):
        return ethernet(wire.server, wire.mac, kind, packet, outer)

    yield framed(*whole, (TAG, 0), (TAG, 0))
    yield framed(*whole, (SERVICE_TAG, 0))
    yield framed(*whole, (TAG, 0), (SERVICE_TAG, 0))
    yield framed(*ip(variant, syn), (TAG, 0), (TAG, 0))
    yield framed(*ip(variant, reset), (TAG, 0), (TAG, 0))
    if variant.family == "v6":
        padding = bytes([60, 0, 1, 4, 0, 0, 0, 0])
        last = bytes([socket.IPPROTO_TCP, 0, 1, 4, 0, 0, 0, 0])
        for count in (1, 8, 9, 12):
            yield framed(*ip(variant, padding * (count - 1) + last + segment, 60))
        for first, rest in ((segment[:24], segment[24:]), (segment[:8], segment[8:])):
            def fragment(offset, more, piece):
                head = struct.pack(">BBHI", socket.IPPROTO_TCP, 0, offset | more, source_port)
                return framed(*ip(variant, head + piece, 44))
            yield fragment(0, 1, first)
            yield fragment(len(first), 0, rest)
        # The ports are in the second fragment: the first has only a part of the destination options before them.
        chain = bytes([socket.IPPROTO_TCP, 2, 1, 20]) + bytes(20) + segment
        yield framed(*ip(variant, struct.pack(">BBHI", 60, 0, 1, 9) + chain[:8], 44))
        yield framed(*ip(variant, struct.pack(">BBHI", 60, 0, 8, 9) + chain[8:], 44))
        return
    source, server = variant.client, variant.server
    yield framed(IPV4, ipv4(source, server, socket.IPPROTO_TCP, segment, options=bytes([7, 7, 4, 0, 0, 0, 0, 1])))
    yield framed(IPV4, ipv4(source, server, socket.IPPROTO_TCP, segment, options=bytes([131, 7, 4, 10, 77, 0, 2, 1])))
    for cut in (8, 24):
        number = source_port + cut
        yield framed(IPV4, ipv4(source, server, socket.IPPROTO_TCP, segment[:cut], fragment=0x2000, identification=number))
        yield framed(IPV4, ipv4(source, server, socket.IPPROTO_TCP, segment[cut:], fragment=cut // 8, identification=number))
