"""`openssl s_server` as a WebSocket server for our client: TLS is OpenSSL's, the echo behind its standard streams is ours."""

import base64
import hashlib
import socket
import struct
import subprocess
import threading

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
CLOSE, PING, PONG = 8, 9, 10
PATIENCE = 60


class EchoServer:
    """One process for one connection at a time, and as many connections as come; a context manager that ends it."""

    def __init__(self, pair, *words, log):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = ["openssl", "s_server", "-quiet", "-accept", f"127.0.0.1:{self.port}", "-cert", pair.certificate, "-key", pair.key, *words]
        self._log = open(log, "wb")
        self._process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=self._log)
        threading.Thread(target=self._serve, daemon=True).start()
        self._wait()

    def _wait(self):
        """Until it listens, which a connection that it would serve must not find out."""
        wanted = f"0100007F:{self.port:04X} 00000000:0000 0A"
        for _ in range(PATIENCE * 50):
            with open("/proc/net/tcp") as table:
                if wanted in table.read():
                    return
            try:
                code = self._process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            raise RuntimeError(f"openssl s_server ended with code {code}; see {self._log.name}")
        raise RuntimeError("openssl s_server does not listen")

    def _serve(self):
        """Answers upgrades and echoes messages. s_server shows the bytes of all connections one after the other."""
        try:
            while True:
                self._write(answer(self._head()))
                while True:
                    first, payload = self._frame()
                    if first & 15 == PING:
                        first = first & 0xF0 | PONG
                    self._write(frame(first, payload))
                    if first & 15 == CLOSE:
                        break
        except EOFError:
            pass

    def _head(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._exactly(1)
        return head

    def _frame(self):
        first, size = self._exactly(2)
        size &= 0x7F
        if size >= 126:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8))
        key, payload = self._exactly(4), self._exactly(size)
        stream = (key * (size // 4 + 1))[:size]
        return first, (int.from_bytes(payload) ^ int.from_bytes(stream)).to_bytes(size)

    def _exactly(self, count):
        got = self._process.stdout.read(count)
        if len(got) < count:
            raise EOFError
        return got

    def _write(self, data):
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except OSError:
            raise EOFError from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._log.close()


def answer(head):
    key = next(line.partition(b":")[2].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    return (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept + b"\r\n\r\n")


def frame(first, payload):
    size = len(payload)
    if size < 126:
        return struct.pack(">BB", first, size) + payload
    if size < 65536:
        return struct.pack(">BBH", first, 126, size) + payload
    return struct.pack(">BBQ", first, 127, size) + payload
