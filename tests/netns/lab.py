"""Network namespaces connected by veth pairs, with a server in one and clients in another. All are removed at the end.

    client  va ------------------------ vb  server
    client  va -- ma  middle  mb ------ vb  server       (Lab(middle=...))

In the middle is a bridge on which nft drops frames, or a relay that reorders them. The server's own namespace could do
neither, since its traffic bypasses its kernel. All names contain the id of this process, so that several runs do not conflict.
"""

import contextlib
import ctypes
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
from ipv6 import has_ipv6
from server import BINARY, Server
from variant import INTERFACE

PATIENCE = 60  # seconds that any expected event may take; far more than it needs
NUMBERS = itertools.count(1)
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


class Failed(Exception):
    """The case found something wrong."""


def check(condition, what):
    if not condition:
        raise Failed(what)


def eventually(what, condition, patience=PATIENCE):
    """Waits until `condition()` is true and returns its value; fails with `what` if it never is."""
    deadline = time.monotonic() + patience
    while not (got := condition()):
        check(time.monotonic() < deadline, f"not after {patience} s: {what}")
        time.sleep(0.05)
    return got


def command(*words, **options):
    """Runs a command to its end; returns its output, or raises with the output if it fails."""
    words = [str(word) for word in words]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          **{"timeout": 2 * PATIENCE} | options)
    check(done.returncode == 0, f"{' '.join(words)}: exit code {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def _setns(file):
    if LIBC.setns(file.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Namespace:
    """One network namespace."""

    def __init__(self, role):
        self.name = f"hioload-{os.getpid()}-{next(NUMBERS)}-{role}"
        self.prefix = ["ip", "netns", "exec", self.name]
        command("ip", "netns", "add", self.name)
        self.ip("link", "set", "dev", "lo", "up")
        # Addresses stay while the interface is down, and the kernel sends no packets that no test asked for.
        if has_ipv6():
            self.sysctl("net.ipv6.conf.all.keep_addr_on_down=1", "net.ipv6.conf.default.accept_ra=0",
                        "net.ipv6.conf.default.router_solicitations=0")

    def ip(self, *words):
        return command("ip", "-n", self.name, *words)

    def run(self, *words, **options):
        """Runs a command in this namespace."""
        return command(*self.prefix, *words, **options)

    def start(self, *words, **options):
        """Starts a command in this namespace."""
        words = [str(word) for word in (*self.prefix, *words)]
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, **options)

    def sysctl(self, *settings):
        self.run("sysctl", "-qw", *settings)

    def offload(self, interface, *features):
        self.run("ethtool", "-K", interface, *(word for name in features for word in (name, "off")))

    def mac(self, interface):
        return json.loads(self.ip("-j", "link", "show", interface))[0]["address"]

    @contextlib.contextmanager
    def inside(self):
        """Moves this thread into the namespace for the block. A socket stays in the namespace in which it was made."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name}") as there:
            _setns(there)
            try:
                yield
            finally:
                _setns(home)

    def remove(self):
        """Ends the processes in the namespace, then removes it."""
        listed = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True).stdout
        for pid in listed.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True)


def sweep():
    """Removes the namespaces of killed runs: those without processes, named after a process that no longer exists."""
    for line in command("ip", "netns", "list").splitlines():
        match = re.fullmatch(r"(hioload-(\d+)-\d+-\w+)( .*)?", line)
        if match and not Path(f"/proc/{match[2]}").exists() and not command("ip", "netns", "pids", match[1]).strip():
            command("ip", "netns", "delete", match[1])


def accounted(log):
    """Whether the log of a server on DPDK says that no mbuf is missing. (A missing one would also change its exit code.)"""
    return "mbufs are back in their pools" in log or "mbufs are accounted for" in log


class Lab:
    """The namespaces and veth pairs of one case; a context manager. `shared`: the kernel of the server's namespace has the
    addresses, even if the server has TCP in user space. `offloads`: the offloads that the ends of the pairs keep."""

    def __init__(self, variant, folder, middle=False, shared=False, offloads=()):
        self.variant, self.folder, self.shared = variant, Path(folder), shared
        self.with_middle, self.offloads = middle, offloads
        self.namespaces, self.processes, self.logs = [], [], []
        self.server = None

    def __enter__(self):
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, kind, *_):
        if kind is not None and self.server is not None and self.server.process.poll() is None:
            (self.folder / "counters.txt").write_text(self._last_counters())
        self._remove()

    def _namespace(self, role):
        namespace = Namespace(role)
        self.namespaces.append(namespace)
        return namespace

    def _build(self):
        variant = self.variant
        self.client, self.far = self._namespace("client"), self._namespace("server")
        if self.with_middle:
            self.middle = self._namespace("middle")
            if has_ipv6():
                self.middle.sysctl("net.ipv6.conf.default.disable_ipv6=1", "net.ipv6.conf.all.disable_ipv6=1")
            self._pair(self.client, "va", self.middle, "ma")
            self._pair(self.middle, "mb", self.far, INTERFACE)
            for interface in ("ma", "mb"):
                self.middle.offload(interface, "gro")
                self.middle.ip("link", "set", "dev", interface, "up")
        else:
            self._pair(self.client, "va", self.far, INTERFACE)

        self.client.ip("link", "set", "dev", "va", "up")
        self.client.ip("address", "add", "10.77.0.1/24", "dev", "va")
        self.client.ip("address", "add", "10.77.0.11/24", "dev", "va")
        self.client.ip("address", "add", "10.77.0.12/24", "dev", "va")
        for source in ("fd77::1", "fd77:0:0:1::1", "fd77:0:0:2::1") if has_ipv6() else ():
            # Connections without a chosen source address use the first one.
            later = [] if source == "fd77::1" else ["preferred_lft", "0"]
            self.client.ip("address", "add", f"{source}/64", "dev", "va", "nodad", *later)
        self.far.ip("link", "set", "dev", INTERFACE, "addrgenmode", "none")
        self.far.ip("link", "set", "dev", INTERFACE, "up")
        if self.shared or not variant.bypass:
            self.far.ip("address", "add", "10.77.0.2/24", "dev", INTERFACE)
            if has_ipv6():
                self.far.ip("address", "add", "fd77::2/64", "dev", INTERFACE, "nodad")
            for gateway in ("10.77.0.1", "fd77::1") if has_ipv6() else ("10.77.0.1",):
                self.far.ip("route", "add", "default", "via", gateway)

    def _pair(self, near, near_end, far, far_end):
        queues = ["numrxqueues", self.variant.queues, "numtxqueues", self.variant.queues]
        near.ip("link", "add", near_end, "mtu", self.variant.mtu, *queues, "type", "veth",
                "peer", "name", far_end, "netns", far.name, "mtu", self.variant.mtu, *queues)
        for namespace, end in ((near, near_end), (far, far_end)):
            # A veth leaves checksums and segmentation to a NIC that does not exist; TCP in user space needs both done.
            without = [name for name in ("tx", "tso", "gso") if name not in self.offloads]
            if without:
                namespace.offload(end, *without)

    def _remove(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        if self.server is not None and self.server.process.poll() is None:
            self.server.process.kill()
            self.server.process.wait()
        for namespace in self.namespaces:
            namespace.remove()
            Path(f"/run/{namespace.name}.sock").unlink(missing_ok=True)

    # --- the server --------------------------------------------------------------------------------------------------

    @property
    def control(self):
        """The control socket. Its path is short, since the name of a socket has at most 107 bytes."""
        return Path(f"/run/{self.far.name}.sock")

    def words(self):
        """The arguments of `hioload serve` that say where the server of this lab listens."""
        return self.variant.serve(self.shared, verify="tx" not in self.offloads, control=str(self.control))

    def serve(self, *arguments, prefix=()):
        """Starts the server in its namespace, with its counters at /stats; `prefix` goes before the command."""
        log = self.folder / f"server-{len(self.logs) + 1}.log"
        self.logs.append(log)
        self.server = Server("--stats", *map(str, arguments), log=log, prefix=[*self.far.prefix, *prefix],
                             serve=self.words())
        return self.server

    def environment(self):
        """The environment with which the tests of sockets start their servers in the server's namespace."""
        return os.environ | {
            "HIOLOAD_BIN": str(BINARY),
            "HIOLOAD_TEST_SERVER_PREFIX": " ".join(self.far.prefix),
            "HIOLOAD_TEST_SERVE_ARGS": "\n".join(self.words()),
            "HIOLOAD_TEST_SOURCES": ",".join(self.variant.sources),
            "HIOLOAD_TEST_OUT": str(self.folder),
        }

    def url(self, path):
        """The URL of a path for clients in the clients' namespace."""
        return f"{self.variant.url(self.server.ca is not None)}{path}"

    def trust(self):
        """The options with which our clients trust the server."""
        return ["--ca", self.server.ca] if self.server.ca else []

    def get(self, path):
        """An HTTP GET from the clients' namespace: status and body."""
        with self.client.inside():
            return self.server.get(path)

    def stats(self):
        """The server's counters."""
        status, body = self.get("/stats")
        check(status == 200, f"/stats answers {status}: {body}")
        return json.loads(body)

    def memory(self):
        """Physical memory of the server in bytes."""
        for line in Path(f"/proc/{self.server.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise Failed("the server has ended")

    def attached(self):
        """The line of `ip link` on the XDP program of the server's interface; empty if there is none."""
        shown = self.far.ip("-d", "link", "show", INTERFACE)
        return " ".join(line.strip() for line in shown.splitlines() if "xdp" in line)

    def _last_counters(self):
        try:
            return self.get("/stats")[1]
        except Exception as error:  # the first failure is the one to report
            return f"(no counters: {error})"

    # --- others ------------------------------------------------------------------------------------------------------

    def start(self, namespace, *words, **options):
        """Starts a helper, which ends at the end of the case at the latest."""
        process = namespace.start(*words, **options)
        self.processes.append(process)
        return process

    def finish(self, process, patience=PATIENCE):
        """Ends a helper with SIGTERM and returns the JSON that it printed."""
        process.send_signal(signal.SIGTERM)
        try:
            said, _ = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            raise Failed(f"{process.args[-1]} does not end") from None
        check(process.returncode == 0, f"{' '.join(process.args)} ended with code {process.returncode}")
        return json.loads(said)

    def nft(self, namespace, rules):
        subprocess.run([*namespace.prefix, "nft", "-f", "-"], input=rules, text=True, check=True)
