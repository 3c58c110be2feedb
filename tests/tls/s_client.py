"""`openssl s_client` as a client of the server."""

import re
import subprocess

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Answer:
    """What s_client says of one connection, over which it asks for /healthz."""

    def __init__(self, text):
        self.text = text
        self.ok = "HTTP/1.1 200" in text
        self.suite = self._find(r"Cipher is (\S+)")
        self.version = self._find(r"(?:New|Reused), (\S+),")
        self.resumed = bool(re.search(r"^Reused, ", text, re.M))
        self.group = self._find(r"Server Temp Key: ([^,\s]+)(?:, (?P<name>prime256v1|secp384r1))?")
        self.alert = self._find(r"SSL alert number (\d+)")
        self.subject = self._find(r"^subject=(.*)$", re.M)

    def _find(self, pattern, flags=0):
        match = re.search(pattern, self.text, flags)
        return match and match[1].strip()

    def __repr__(self):
        return f"{self.version} {self.suite} {self.group} resumed={self.resumed} alert={self.alert} {self.subject} ok={self.ok}"


def ask(server, ca, *words, name="localhost"):
    """Connects, asks, and returns the Answer. Without `name` the client asks for no name."""
    sni = ["-servername", name] if name else ["-noservername"]
    command = ["openssl", "s_client", "-connect", f"{server.host}:{server.port}", *sni, "-CAfile", ca, "-ign_eof", *words]
    done = subprocess.run([str(word) for word in command], input=REQUEST, capture_output=True, timeout=60)
    return Answer((done.stdout + done.stderr).decode(errors="replace"))
