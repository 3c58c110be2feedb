"""Starts and stops `hioload serve` for the tests written in Python.

HIOLOAD_TEST_SERVER_PREFIX (words before the command) and HIOLOAD_TEST_SERVE_ARGS (in place of `--listen 127.0.0.1:0`) put the
server into another network namespace or on another transport; see tests/common/server.rs. HIOLOAD_TEST_TLS names a folder for a
certificate, and all servers speak TLS with it.
"""

import os
import re
import select
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("HIOLOAD_BIN", ROOT / "target/debug/hioload"))


def words(variable):
    """The words of a variable: one per line, or separated by white space in a single line."""
    text = os.environ.get(variable, "")
    return text.splitlines() if "\n" in text else text.split()


STARTED = re.compile(r"wss?://([^\s/]+):(\d+)")
PREFIX = words("HIOLOAD_TEST_SERVER_PREFIX")
SERVE = words("HIOLOAD_TEST_SERVE_ARGS") or ["--listen", "127.0.0.1:0"]
# Names of the certificate besides those of the machine: the servers of tests/netns.
TLS_NAMES = ("10.77.0.2", "fd77::2")
START_SECONDS = 20
STOP_SECONDS = 30


def use_tls():
    """Has all servers from now on, and those of the programs that this one starts, speak TLS; returns the file of the authority."""
    folder = os.environ.setdefault("HIOLOAD_TEST_TLS", str(ROOT / "target/tests/certificate"))
    return certificate(folder) / "ca.pem"


def certificate(folder):
    """The folder with a certificate for this machine, which `hioload cert dev` makes if it is not there."""
    names = [word for name in TLS_NAMES for word in ("--name", name)]
    subprocess.run([BINARY, "cert", "dev", "--dir", folder, *names], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL)
    return Path(folder)


class Server:
    """A running server on a free port, or where the environment says; a context manager that ends it with SIGTERM and
    requires exit code 0."""

    def __init__(self, *arguments, log, prefix=PREFIX, serve=SERVE, tls=None):
        """`arguments` follow the arguments that say where to listen. Standard error goes to the file `log`. With `tls`, the
        folder of a certificate, it speaks TLS, as it does if the environment says so; then `ca` is its authority."""
        self.log = Path(log)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        tls = tls or os.environ.get("HIOLOAD_TEST_TLS")
        self.ca = certificate(tls) / "ca.pem" if tls else None
        secured = ["--tls-certificate", tls] if tls else []
        command = [*prefix, BINARY, "serve", *serve, *arguments, *secured]
        with self.log.open("wb") as stderr:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)
        self.pid = self.process.pid
        try:
            self.start_line, self.host, self.port = self._started()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def _started(self):
        deadline = time.monotonic() + START_SECONDS
        said = b""
        poll = select.poll()  # not select(), which is limited to descriptors below 1024
        poll.register(self.process.stdout, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            if not poll.poll(left * 1000):
                break
            piece = os.read(self.process.stdout.fileno(), 4096)
            said += piece
            line, newline, _ = said.decode(errors="replace").partition("\n")
            if newline and (match := STARTED.search(line)):
                return line, match[1], int(match[2])
            if newline or not piece:
                break
        raise RuntimeError(f"the server did not start (it printed {said!r}); its log:\n{self.log.read_text()}")

    def url(self, path="", scheme="ws"):
        """`scheme` is ws or http; over TLS it becomes wss or https."""
        return f"{scheme}{'s' if self.ca else ''}://{self.host}:{self.port}{path}"

    def trust(self):
        """The context with which a client in Python verifies the server; None without TLS."""
        return ssl.create_default_context(cafile=self.ca) if self.ca else None

    def get(self, path):
        """An HTTP GET: the status and the body as text."""
        try:
            with urllib.request.urlopen(self.url(path, "http"), timeout=10, context=self.trust()) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode()

    def stop(self):
        """SIGTERM, then wait; raises if the server died before, hangs, or ends with another code than 0."""
        if (code := self.process.poll()) is not None:
            raise RuntimeError(f"the server ended by itself with code {code}; its log:\n{self.log.read_text()}")
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise RuntimeError(f"the server did not stop within {STOP_SECONDS} s of SIGTERM") from None
        if code != 0:
            raise RuntimeError(f"the server ended with code {code}; its log:\n{self.log.read_text()}")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self.stop()
        except RuntimeError as error:
            if kind is None:
                raise
            print(f"(a second failure: {error})", file=sys.stderr)  # the first failure is the one to report
        finally:
            self.process.stdout.close()


def output_folder(step):
    """Where a step leaves logs, reports and screenshots: target/tests/STEP (or HIOLOAD_TEST_OUT), emptied."""
    folder = Path(os.environ.get("HIOLOAD_TEST_OUT", ROOT / "target/tests")) / step
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
