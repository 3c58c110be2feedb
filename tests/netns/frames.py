"""Frames written byte by byte, and a packet socket on the clients' end that sends them and watches for answers."""

import ipaddress
import select
import socket
import struct
import time

from flood import checksum

ARP, IPV4, IPV6, TAG, SERVICE_TAG = 0x0806, 0x0800, 0x86DD, 0x8100, 0x88A8
BROADCAST = b"\xff" * 6
ACK, RST, SYN = 0x10, 0x04, 0x02


def packed(address):
    return ipaddress.ip_address(address).packed


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def ethernet(to, source, kind, payload, tags=()):
    """A frame behind tags: pairs of EtherType and number."""
    behind = b"".join(struct.pack(">HH", *tag) for tag in tags)
    return (to + source + behind + struct.pack(">H", kind) + payload).ljust(60, b"\0")


def arp(operation, sender_mac, sender, target_mac, target):
    return struct.pack(">HHBBH", 1, IPV4, 6, 4, operation) + sender_mac + packed(sender) + target_mac + packed(target)


def tcp(source, destination, source_port, port, flags, sequence=1, acknowledged=1, payload=b""):
    """A TCP segment with its checksum."""
    source, destination = packed(source), packed(destination)
    segment = struct.pack(">HHIIBBHHH", source_port, port, sequence, acknowledged, 5 << 4, flags, 1000, 0, 0) + payload
    if len(source) == 4:
        pseudo = source + destination + struct.pack(">HH", socket.IPPROTO_TCP, len(segment))
    else:
        pseudo = source + destination + struct.pack(">IHBB", len(segment), 0, 0, socket.IPPROTO_TCP)
    return segment[:16] + struct.pack(">H", checksum(pseudo + segment)) + segment[18:]


def ipv4(source, destination, protocol, payload, fragment=0x4000, options=b"", identification=7):
    head = struct.pack(">BBHHHBBH", 0x40 | (5 + len(options) // 4), 0, 20 + len(options) + len(payload), identification,
                       fragment, 64, protocol, 0) + packed(source) + packed(destination) + options
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def ipv6(source, destination, following, payload):
    return struct.pack(">IHBB", 6 << 28, len(payload), following, 64) + packed(source) + packed(destination) + payload


class Wire:
    """A packet socket on the clients' end of the pair."""

    def __init__(self, lab, interface="va"):
        with lab.client.inside():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
            self.socket.bind((interface, 0))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.mac = self.socket.getsockname()[4]
        self.server = mac(lab.far.mac("vb"))

    def send(self, frame):
        self.socket.send(frame)

    def received(self, seconds):
        """The frames that arrive within this time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.socket], [], [], left)[0]:
                frame, (_, _, direction, _, _) = self.socket.recvfrom(65536)
                if direction != socket.PACKET_OUTGOING:
                    yield frame

    def close(self):
        self.socket.close()


def arp_replies(frames):
    """The targets of ARP replies."""
    for frame in frames:
        if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\x00\x02":
            yield str(ipaddress.ip_address(frame[38:42]))


def resets(frames, port):
    """The RST segments from this port: the peers' ports."""
    for frame in frames:
        at = {b"\x08\x00": 34, b"\x86\xdd": 54}.get(frame[12:14])
        protocol = frame[23] if at == 34 else frame[20]
        if at and protocol == socket.IPPROTO_TCP and len(frame) >= at + 20:
            source, peer = struct.unpack(">HH", frame[at:at + 4])
            if source == port and frame[at + 13] & RST:
                yield peer
