"""Cases: the server answers its own traffic, and no other."""

import socket
import subprocess
import sys
import threading

import ws
from cases import BYPASS, case, every, just, one_mtu, spread
from lab import BINARY, HERE, Lab, accounted, check, command, eventually

SIZES = (0, 1, 125, 126, 1400, 1500, 9000, 65535, 65536, 1_000_000)


@case("echoes of many sizes to a plain client and to our own", ci=every(mtu=(1500,)))
def smoke(variant, folder):
    with Lab(variant, folder) as lab:
        lab.serve()
        check(lab.get("/healthz")[0] == 200, "/healthz does not answer 200")
        clients = [ws.Client(lab) for _ in range(8)]
        for size in SIZES:
            for number, client in enumerate(clients):
                client.echo(ws.noise(number, size))
        for client in clients:
            client.close()
        for size in (64, 16384):
            lab.client.run(BINARY, "connect", lab.url("/echo"), "--count", "500", "--size", size,
                           "--in-flight", "8", "--timeout", "60s", *lab.trust())
        eventually("all connections are gone from the counters", lambda: lab.stats()["open"] == 0)
        lab.server.stop()
        check(not lab.attached(), f"a program is attached after the end: {lab.attached()}")
        log = lab.server.log.read_text()
        check(not variant.dpdk or accounted(log), f"frames are missing: {log}")


@case("a sender that leaves checksums to a NIC, as veth devices do by default", ci=spread(),
      all=one_mtu(), only=("sockets", "af-xdp"))
def checksums(variant, folder):
    with Lab(variant, folder, offloads=("tx",)) as lab:
        lab.serve()
        client = ws.Client(lab)
        for size in SIZES:
            client.echo(ws.noise(1, size))
        client.close()
        lab.server.stop()


@case("messages of one and of many segments, with MTU 1500 and 9000", ci=spread(mtu=9000))
def mtu(variant, folder):
    with Lab(variant, folder) as lab:
        lab.serve()
        client = ws.Client(lab)
        # The headers of IPv6 and TCP have 60 bytes, and their options 12 or more.
        check(variant.mtu - 100 <= client.mss <= variant.mtu - 40, f"an MSS of {client.mss} for {variant.mtu}")
        for size in range(variant.mtu - 120, variant.mtu + 20, 7):
            client.echo(ws.noise(size, size))
        ws.transfer(client, 32 << 20)
        client.close()
        lab.server.stop()


@case("ping and ping -6, small and as large as the MTU", ci=spread(mtu=1500, families=("v4",)))
def ping(variant, folder):
    with Lab(variant, folder) as lab:
        lab.serve()
        for flag, address, headers in (("-4", "10.77.0.2", 28), ("-6", "fd77::2", 48)):
            for size in (0, 56, variant.mtu - headers):
                said = lab.client.run("ping", flag, "-i", 0.02, "-c", 20, "-w", 60, "-M", "do", "-s", size, address)
                check(" 20 received" in said and " 0% packet loss" in said, said)
        client = ws.Client(lab)
        client.echo(b"and TCP")
        client.close()
        lab.server.stop()
        if variant.bypass:  # the server answered, not the kernel
            silent = lab.client.start("ping", "-c", "1", "-W", "2", "10.77.0.2", stdout=subprocess.DEVNULL)
            check(silent.wait(30) != 0, "pings are answered without the server")


@case("another MAC address than the interface's", ci=just(), all=one_mtu(), only=BYPASS)
def mac(variant, folder):
    wanted = "02:00:00:77:00:02"
    with Lab(variant, folder) as lab:
        lab.serve("--mac", wanted)
        client = ws.Client(lab)
        client.echo(ws.noise(1, 10_000))
        check(wanted in lab.client.ip("neigh", "show", variant.server), "the neighbour has another address")
        lab.client.run("ping", "-i", 0.02, "-c", 5, "-w", 60, variant.server)
        client.close()
        lab.server.stop()


@case("a VLAN: frames with its tag are the server's, others are not", ci=spread(), all=one_mtu(), only=BYPASS)
def vlan(variant, folder):
    with Lab(variant, folder, middle=True) as lab:
        # The relay tags frames to the server and untags frames from it: the kernel may have no VLAN support.
        relay = lab.start(lab.middle, sys.executable, HERE / "relay.py", "ma", "mb", "--tag", 42,
                          stdout=subprocess.PIPE, text=True)
        relay.stdout.readline()
        lab.serve("--vlan", 42)
        client = ws.Client(lab)
        for size in SIZES:
            client.echo(ws.noise(1, size))
        lab.client.run("ping", "-i", 0.02, "-c", 5, "-w", 60, variant.server)
        client.close()
        lab.server.stop()
        counts = lab.finish(relay)
        check(counts["untagged"] == 0, f"frames came without the tag: {counts}")
        lab.serve("--vlan", 43)
        relay = lab.start(lab.middle, sys.executable, HERE / "relay.py", "ma", "mb", "--tag", 42,
                          stdout=subprocess.PIPE, text=True)
        relay.stdout.readline()
        silent = lab.start(lab.client, "ping", "-c", 1, "-W", 2, variant.server, stdout=subprocess.DEVNULL)
        check(silent.wait(60) != 0, "another VLAN is answered")
        lab.server.stop()


@case("many connections from few ports: each meets the TIME_WAIT of an earlier one", ci=spread(),
      all=one_mtu())
def ports(variant, folder):
    with Lab(variant, folder) as lab:
        lab.client.sysctl("net.ipv4.ip_local_port_range=40000 40019")
        lab.serve()
        for turn in range(400):
            client = ws.Client(lab)
            client.echo(b"%d" % turn)
            client.close()  # the server ends TCP first, so it holds TIME_WAIT
        lab.server.stop()


@case("the address shared with the kernel: its own TCP port and ping go on beside the server's", ci=spread(),
      only=("sockets", "af-xdp"))
def shared(variant, folder):
    with Lab(variant, folder, shared=True) as lab:
        kernel = KernelEcho(lab, variant)
        before = kernel.connect(lab)
        kernel.say(before, b"before the server starts")
        lab.serve()
        kernel.say(before, b"a connection older than the server")
        client = ws.Client(lab)
        for turn in range(50):
            client.echo(ws.noise(turn, 20_000))
            kernel.say(before, ws.noise(turn, 20_000))
        fresh = kernel.connect(lab)
        kernel.say(fresh, b"a connection younger than the server")
        command(*lab.client.prefix, "ping", "-i", 0.02, "-c", 10, "-w", 60, variant.server)
        # The kernel refuses a port without a listener at once.
        with lab.client.inside():
            probe = socket.socket(fresh.family)
        probe.settimeout(30)
        check(probe.connect_ex((variant.server, 4)) == 111, "a closed port is not refused")
        probe.close()
        client.close()
        lab.server.stop()
        kernel.say(before, b"after the server's end")
        kernel.say(fresh, b"as well")


class KernelEcho:
    """An echo over the kernel's TCP in the server's namespace, in place of ssh."""

    PORT = 2222

    def __init__(self, lab, variant):
        family = socket.AF_INET6 if variant.family == "v6" else socket.AF_INET
        self.address = (variant.server, self.PORT)
        with lab.far.inside():
            self.listener = socket.socket(family)
        self.family = family
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(self.address)
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            accepted, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted):
        while piece := accepted.recv(65536):
            accepted.sendall(piece)

    def connect(self, lab):
        with lab.client.inside():
            opened = socket.socket(self.family)
        opened.settimeout(60)
        opened.connect(self.address)
        return opened

    def say(self, opened, what):
        opened.sendall(what)
        got = b""
        while len(got) < len(what):
            piece = opened.recv(65536)
            check(piece, "the kernel's connection has ended")
            got += piece
        check(got == what, "the echo over the kernel's TCP differs")
