"""A simple WebSocket client on a blocking socket that is made in a namespace. It shares no code with the project."""

import hashlib
import os
import random
import socket
import struct
import threading
import time

import secured
from lab import PATIENCE, check
from variant import PORT

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = bytes.fromhex("37fa213d")
REQUEST = ("GET {path} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 §1.3


def masked(payload, key=KEY):
    """The masked payload."""
    stream = (key * (len(payload) // 4 + 1))[:len(payload)]
    return (int.from_bytes(payload) ^ int.from_bytes(stream)).to_bytes(len(payload))


def frame(opcode, payload):
    """A whole masked frame."""
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", 0x80 | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack(">BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + KEY + masked(payload)


class Client:
    """One connection to the server of a lab."""

    def __init__(self, lab, path="/echo", source=None, patience=PATIENCE, upgrade=True):
        family = socket.AF_INET6 if lab.variant.family == "v6" else socket.AF_INET
        with lab.client.inside():
            self.socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self.socket.settimeout(patience)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source:
                self.socket.bind((source, 0))
            self.socket.connect((lab.variant.server, PORT))
            if lab.server is not None:
                self.socket = secured.wrapped(self.socket, lab.server, lab.variant.server)
        except BaseException:
            self.socket.close()
            raise
        self.unread = bytearray()
        if upgrade:
            self.ask(path)
            self.granted()

    def ask(self, path="/echo"):
        """Sends the upgrade request."""
        self.socket.sendall(REQUEST.format(path=path).encode())

    def granted(self):
        """Reads the answer, which must accept the upgrade."""
        while (end := self.unread.find(b"\r\n\r\n")) < 0:
            self._fill()
        head = bytes(self.unread[:end])
        del self.unread[:end + 4]
        check(head.startswith(b"HTTP/1.1 101 ") and ACCEPT in head, f"the upgrade was refused: {head!r}")

    def _fill(self):
        piece = self.socket.recv(1 << 18)
        check(piece, "the server ended the connection")
        self.unread += piece

    def _exactly(self, count):
        while len(self.unread) < count:
            self._fill()
        taken = bytes(self.unread[:count])
        del self.unread[:count]
        return taken

    def send(self, payload, opcode=BINARY):
        self.socket.sendall(frame(opcode, payload))

    def next(self):
        """The next frame: opcode and payload."""
        first, size = self._exactly(2)
        check(first & 0x70 == 0 and size & 0x80 == 0, f"not a valid frame of a server: {first:#x} {size:#x}")
        if size == 126:
            size, = struct.unpack(">H", self._exactly(2))
        elif size == 127:
            size, = struct.unpack(">Q", self._exactly(8))
        check(first & 0x80, "the echo is fragmented")
        return first & 0x0F, self._exactly(size)

    def message(self):
        """The next message; a ping on the way is answered."""
        while True:
            opcode, payload = self.next()
            if opcode == PING:
                self.send(payload, PONG)
            elif opcode in (TEXT, BINARY):
                return payload
            else:
                check(opcode == PONG, f"wanted a message, got opcode {opcode}: {payload!r}")

    def echo(self, payload):
        """Sends a message and reads it back."""
        self.send(payload)
        check(self.message() == payload, f"the echo of {len(payload)} bytes differs")

    def close(self, code=1000):
        """A complete closing handshake, with the end of TCP."""
        self.send(struct.pack(">H", code), CLOSE)
        self.closed(code)

    def closed(self, code):
        """Reads up to a Close frame with this code, answers it, and reads the end."""
        while True:
            opcode, payload = self.next()
            if opcode == CLOSE:
                break
        got = struct.unpack(">H", payload[:2])[0] if payload else None
        check(got == code, f"closed with {got}, not {code}")
        try:
            self.send(payload, CLOSE)
        except OSError:
            pass  # it answers our Close, and TCP is closed already
        while True:
            try:
                if not self.socket.recv(4096):
                    break
            except ConnectionResetError:
                break
        self.socket.close()

    def drop(self):
        """Closes TCP without a Close frame."""
        self.socket.close()

    @property
    def mss(self):
        return self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)


def noise(seed, size):
    return random.Random(seed).randbytes(size)


def transfer(client, total, size=1 << 20, patience=150):
    """Sends `total` bytes as messages of `size` and reads their echoes at the same time; their digests must agree. It
    fails after `patience` seconds."""
    count = total // size
    deadline = time.monotonic() + patience
    block = noise(os.getpid(), size)
    sent, got = hashlib.sha256(), hashlib.sha256()
    troubles = []

    def write():
        try:
            for number in range(count):
                payload = number.to_bytes(8) + block[8:]
                sent.update(payload)
                client.send(payload)
        except OSError as error:
            troubles.append(error)
            client.socket.close()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        for number in range(count):
            payload = client.message()
            check(time.monotonic() < deadline, f"after {patience} s only {number + 1} of {count} echoes have arrived")
            check(len(payload) == size and payload[:8] == number.to_bytes(8), f"message {number} is a different one")
            got.update(payload)
    except OSError as error:
        raise OSError(f"{error} (after {number} of {count} messages; the writer: {troubles or 'no error'})") from error
    writer.join(PATIENCE)
    check(not writer.is_alive() and not troubles, f"not all was sent: {troubles}")
    check(sent.digest() == got.digest(), "the echoes have a different digest")
