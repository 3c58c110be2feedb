"""TLS for the clients of ws.py: the calls of a socket that they use. One thread may send while another receives."""

import ssl
import threading

PIECE = 1 << 18


class Secured:
    """A connected socket with TLS, whose handshake is complete. `context` verifies the server by its address."""

    def __init__(self, tcp, context, address):
        self.tcp = tcp
        self._arrived, self._sealed = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, self._sealed, server_hostname=address)
        self._state = threading.Lock()  # of the three above
        self._order = threading.Lock()  # of what is sent
        while not self._shaken():
            self._take(self.tcp.recv(PIECE))

    def _shaken(self):
        try:
            self._tls.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            done = False
        self._send()
        return done

    def _take(self, piece):
        with self._state:
            if piece:
                self._arrived.write(piece)
            else:
                self._arrived.write_eof()

    def _send(self):
        with self._order:
            with self._state:
                sealed = self._sealed.read()
            self.tcp.sendall(sealed)

    def sendall(self, data):
        with self._state:
            self._tls.write(data)
        self._send()

    def recv(self, size):
        """Content of the server; nothing after its close_notify. The end of TCP without one is an error."""
        while True:
            try:
                with self._state:
                    return self._tls.read(size)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                return b""
            self._take(self.tcp.recv(PIECE))

    def close(self):
        self.tcp.close()

    def __getattr__(self, name):
        """Everything else is that of TCP: settimeout, getsockname, getsockopt."""
        return getattr(self.tcp, name)


def wrapped(tcp, server, address):
    """The socket as it is, or with TLS if the server speaks it."""
    trust = server.trust()
    return tcp if trust is None else Secured(tcp, trust, address)
