#!/usr/bin/env python3
"""Forwards frames between two interfaces, some of them later, some twice. Prints its counters when it ends.

    relay.py LEFT RIGHT [--late PER_MILLE] [--twice PER_MILLE] [--seed N] [--tag VLAN]

With --tag, frames get an 802.1Q tag on the way to RIGHT and lose it on the way to LEFT, where others are counted and dropped.
A late frame waits until between 1 and 8 others have overtaken it, or 3 ms have passed without any.
"""

import argparse
import collections
import json
import random
import select
import signal
import socket
import struct
import time

ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
TP_STATUS_VLAN_VALID = 1 << 4
BURST = 64
PATIENCE = 0.003  # seconds that a late frame waits when nothing overtakes it


class Direction:
    """Forwards from one interface to the other."""

    def __init__(self, source, sink, options, chance):
        self.source, self.sink, self.chance = source, sink, chance
        self.late, self.twice = options.late / 1000, options.twice / 1000
        self.waiting = []  # [number of frames that overtake it, time of its arrival, frame]
        self.counts = collections.Counter()
        self.put_tag = self.take_tag = None

    def receive(self):
        for _ in range(BURST):
            try:
                frame, auxiliary, _, _ = self.source.recvmsg(65536, 64)
            except BlockingIOError:
                return
            except OSError:  # the interface went down: the next call succeeds
                return
            if self.take_tag is not None and tag_of(auxiliary) != self.take_tag:
                self.counts["untagged"] += 1
                continue
            if self.put_tag is not None:
                frame = frame[:12] + struct.pack(">HH", 0x8100, self.put_tag) + frame[12:]
            self.handle(frame)

    def handle(self, frame):
        draw = self.chance.random()
        if draw < self.late:
            self.counts["late"] += 1
            self.waiting.append([self.chance.randint(1, 8), time.monotonic(), frame])
            return
        self.send(frame)
        if draw > 1 - self.twice:
            self.counts["twice"] += 1
            self.send(frame)
        if self.waiting:
            for entry in self.waiting:
                entry[0] -= 1
            self.release(lambda entry: entry[0] <= 0)

    def expire(self):
        if self.waiting:
            before = time.monotonic() - PATIENCE
            self.release(lambda entry: entry[1] < before)

    def release(self, due):
        ready = [entry for entry in self.waiting if due(entry)]
        if ready:
            self.waiting = [entry for entry in self.waiting if not due(entry)]
            for _, _, frame in ready:
                self.send(frame)

    def send(self, frame):
        try:
            self.sink.send(frame)
            self.counts["passed"] += 1
        except OSError:  # the interface is full or down: a loss like any other
            self.counts["lost"] += 1


def tag_of(auxiliary):
    """The VLAN of a received frame: the kernel removes the tag and passes it as auxiliary data."""
    for level, kind, data in auxiliary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tag, _ = struct.unpack("=IIIHHHH", data[:20])
            return tag & 0xFFF if status & TP_STATUS_VLAN_VALID else None
    return None


def port(interface):
    """A socket that sees every frame that arrives at the interface."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    opened.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    opened.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    opened.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
    opened.setsockopt(socket.SOL_SOCKET, 32, 8 << 20)  # SO_SNDBUFFORCE
    opened.bind((interface, ETH_P_ALL))
    opened.setblocking(False)
    return opened


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("left")
    parser.add_argument("right")
    parser.add_argument("--late", type=int, default=0)
    parser.add_argument("--twice", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tag", type=int)
    options = parser.parse_args()
    left, right = port(options.left), port(options.right)
    chance = random.Random(options.seed)
    directions = {left.fileno(): Direction(left, right, options, chance),
                  right.fileno(): Direction(right, left, options, chance)}
    directions[left.fileno()].put_tag = directions[right.fileno()].take_tag = options.tag
    running = True

    def stop(*_):
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    poll = select.poll()
    for descriptor in directions:
        poll.register(descriptor, select.POLLIN)
    print("ready", flush=True)
    while running:
        waiting = any(direction.waiting for direction in directions.values())
        for descriptor, _ in poll.poll(1 if waiting else 100):
            directions[descriptor].receive()
        for direction in directions.values():
            direction.expire()
    total = sum((direction.counts for direction in directions.values()), collections.Counter())
    print(json.dumps({name: total[name] for name in ("passed", "late", "twice", "lost", "untagged")}))


if __name__ == "__main__":
    main()
