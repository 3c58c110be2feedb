#!/usr/bin/env python3
"""Stands between two interfaces and hands frames over, some of them later, some twice. Prints what it did when it ends.

    relay.py LEFT RIGHT [--late PER_MILLE] [--twice PER_MILLE] [--seed N]

A late frame waits until between 1 and 8 others have overtaken it, or 3 ms have passed without any.
"""

import argparse
import collections
import json
import random
import select
import signal
import socket
import time

ETH_P_ALL = 3
PACKET_IGNORE_OUTGOING, SOL_PACKET = 23, 263
BURST = 64
PATIENCE = 0.003  # seconds that a late frame waits when nothing overtakes it


class Direction:
    """From one interface to the other."""

    def __init__(self, source, sink, options, chance):
        self.source, self.sink, self.chance = source, sink, chance
        self.late, self.twice = options.late / 1000, options.twice / 1000
        self.waiting = []  # [frames still to overtake it, since when, frame]
        self.counts = collections.Counter(passed=0, late=0, twice=0, lost=0)

    def receive(self):
        for _ in range(BURST):
            try:
                frame = self.source.recv(65536)
            except BlockingIOError:
                return
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


def port(interface):
    """A socket that sees every frame that arrives at the interface."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    opened.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
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
    options = parser.parse_args()
    left, right = port(options.left), port(options.right)
    chance = random.Random(options.seed)
    directions = {left.fileno(): Direction(left, right, options, chance),
                  right.fileno(): Direction(right, left, options, chance)}
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
    print(json.dumps({name: total[name] for name in ("passed", "late", "twice", "lost")}))


if __name__ == "__main__":
    main()
