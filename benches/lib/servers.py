"""The servers of a comparison: each alone on its core, started for one measurement."""

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BENCHES = Path(__file__).resolve().parents[1]
TOOLS = BENCHES / ".tools"
BUN_VERSION = "1.4.5"
BUN = TOOLS / "node_modules" / ".bin" / "bun"


class Failed(Exception):
    """A server does not start; the text says why."""


def install_bun():
    """Installs Bun from npm, unless it is there."""
    if BUN.exists():
        return
    TOOLS.mkdir(exist_ok=True)
    npm = ["npm", "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(TOOLS)]
    subprocess.run([*npm, f"bun@{BUN_VERSION}"], check=True, stdout=sys.stderr)


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@contextlib.contextmanager
def running(name, command, address, core):
    """Runs a command on a core until the block ends; yields its process id when it accepts connections at the address."""
    with tempfile.TemporaryFile() as log:
        pinned = ["taskset", "-c", str(core), *map(str, command)]
        process = subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            if not _listens(address, process):
                log.seek(0)
                raise Failed(f"{name} does not start: {log.read().decode(errors='replace').strip()}")
            yield process.pid
        finally:
            process.kill()
            process.wait()


def _listens(address, process):
    """Waits until the server accepts connections, ten seconds at most."""
    host, port = address.split(":")
    for _ in range(1000):
        if process.poll() is not None:
            return False
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return True
        except OSError:
            time.sleep(0.01)
    return False
