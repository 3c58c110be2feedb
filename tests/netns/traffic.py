"""Cases: lossy and reordering paths, ten thousand connections, a SYN flood."""

import resource
import subprocess
import sys
import time

import ws
from cases import case, just, one_mtu, spread
from lab import HERE, INTERFACE, Lab, check, eventually
from variant import PORT

MIB = 1 << 20
BULK = 100 * MIB  # each way
BULK_SECONDS = 150  # on a good path it takes 1 s
CROWD = 10_000
BATCH = 250
SETTLED = 4  # seconds after which an idle connection has returned its rings
FLOOD_RATE = 50_000  # segments a second
BYSTANDERS = 200  # connections from before the flood that are checked
FLOOD_GROWTH = 64 * MIB


@case("100 MB both ways with a checksum, on a clean path", ci=just(), all=one_mtu())
def bulk(variant, folder):
    with Lab(variant, folder) as lab:
        lab.serve()
        report(lab, move(lab))
        lab.server.stop()


@case("100 MB both ways with a checksum, with 2 % loss each way", ci=spread(), all=one_mtu())
def loss(variant, folder):
    with Lab(variant, folder, middle=True) as lab:
        bridge(lab)
        # The kernel treats a drop in its own output as a full queue and does not count the frame as sent, so frames are
        # dropped in the middle.
        lab.nft(lab.middle, """
            table bridge loss {
                chain way {
                    type filter hook forward priority 0; policy accept;
                    iifname "ma" numgen random mod 100 < 2 counter drop
                    iifname "mb" numgen random mod 100 < 2 counter drop
                }
            }
        """)
        lab.serve()
        took = move(lab)
        rules = lab.middle.run("nft", "list", "ruleset")
        dropped = [int(rule.split("packets ")[1].split()[0]) for rule in rules.splitlines() if "packets " in rule]
        check(len(dropped) == 2 and min(dropped) > 100, f"too few frames were lost for a test: {rules}")
        report(lab, took, f"lost {dropped[0]} to the server and {dropped[1]} from it")
        lab.server.stop()


@case("100 MB both ways with a checksum, with late and duplicate frames", ci=spread(), all=one_mtu())
def reorder(variant, folder):
    with Lab(variant, folder, middle=True) as lab:
        relay = lab.start(lab.middle, sys.executable, HERE / "relay.py", "ma", "mb", "--late", 20, "--twice", 5,
                          stdout=subprocess.PIPE, text=True)
        relay.stdout.readline()
        lab.serve()
        took = move(lab)
        lab.server.stop()
        counts = lab.finish(relay)
        check(counts["late"] > 100 and counts["twice"] > 50, f"too few frames were reordered for a test: {counts}")
        report(lab, took, f"{counts}")


def bridge(lab):
    """Connects the two ends in the middle."""
    lab.middle.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", 0)
    lab.middle.ip("link", "set", "dev", "br0", "mtu", lab.variant.mtu, "up")
    for end in ("ma", "mb"):
        lab.middle.ip("link", "set", "dev", end, "master", "br0")


def move(lab):
    """100 MB there and back over one WebSocket; returns the seconds it took. A second connection must make progress too."""
    client, other = ws.Client(lab, patience=BULK_SECONDS), ws.Client(lab, patience=BULK_SECONDS)
    other.echo(b"before")
    began = time.monotonic()
    ws.transfer(client, BULK, patience=BULK_SECONDS)
    took = time.monotonic() - began
    other.echo(b"after")
    client.close()
    other.close()
    return took


def report(lab, seconds, more=""):
    print(f"        {BULK / 1e6:.0f} MB each way in {seconds:.1f} s {more}", flush=True)


@case("10,000 connections from the kernel, all echo; during a SYN flood real clients still connect and echo",
      ci=lambda variants: spread()(variants)[:1] + just("skb", 2, "v6")(variants), all=one_mtu())
def crowd(variant, folder):
    allow_open_files(CROWD + 1000)
    with Lab(variant, folder) as lab:
        # An lcore that polls shares few CPUs with the flood and the clients, so half-open connections need more time.
        more = ["--half-open", 65536] if variant.dpdk else []
        lab.serve("--max-connections", CROWD + 1000, "--ping-interval", "0", "--idle-timeout", "0", *more)
        clients = []
        gather(lab, clients, 1)
        without = lab.memory()
        gather(lab, clients, 1000)
        with_a_thousand = lab.memory()
        gather(lab, clients, CROWD)
        each = (lab.memory() - with_a_thousand) // (CROWD - 1000)
        check(lab.stats()["open"] == CROWD, f"{lab.stats()['open']} are open")
        everyone_echoes(clients, b"one of many, number")
        time.sleep(SETTLED)
        settled = (lab.memory() - without) // CROWD
        print(f"        {CROWD} connections, {each} bytes of memory each when new, {settled} when they have been silent",
              flush=True)

        flooded(lab, clients)
        everyone_echoes(clients, b"still here, number")
        for client in clients:
            client.drop()
        eventually("no connection is open", lambda: lab.stats()["open"] == 0)
        lab.server.stop()


def gather(lab, clients, until):
    """Opens connections, with all handshakes of a batch in flight at once."""
    while len(clients) < until:
        batch = [ws.Client(lab, upgrade=False) for _ in range(min(BATCH, until - len(clients)))]
        for client in batch:
            client.ask()
        for client in batch:
            client.granted()
        clients += batch


def everyone_echoes(clients, text):
    """Exchanges a message on each connection, not in the order of their opening, with all of a batch in flight at once."""
    order = [n * 6427 % len(clients) for n in range(len(clients))]  # a prime that does not divide their number
    for start in range(0, len(order), BATCH):
        batch = order[start:start + BATCH]
        for place in batch:
            clients[place].send(b"%s %d" % (text, place))
        for place in batch:
            check(clients[place].message() == b"%s %d" % (text, place), f"connection {place} got another echo")


def connected(lab):
    """A client that opens a connection, in at most 20 attempts. The kernel sends its SYN again if it was dropped."""
    for _ in range(19):
        try:
            return ws.Client(lab)
        except ConnectionResetError:
            pass
    return ws.Client(lab)


def flooded(lab, clients):
    """During a SYN flood from unused addresses, every real client connects and gets its echo. Where the machine delays a handshake for
    so long that the flood has evicted it, the client connects again."""
    memory, signs = lab.memory(), half_open(lab)
    flood = lab.start(lab.client, sys.executable, HERE / "flood.py", "va", lab.far.mac(INTERFACE), lab.variant.server,
                      PORT, FLOOD_RATE, stdout=subprocess.PIPE, text=True)
    flood.stdout.readline()
    began, fresh, served = time.monotonic(), [], 0
    # The flood lasts until it has filled every bounded table and enough clients have connected.
    while time.monotonic() - began < 5 or served < 200:
        client = connected(lab)
        client.echo(ws.noise(served, 2000))
        # Always the same connections: one that exchanges messages keeps its rings for a while, independent of the flood.
        clients[served * 17 % BYSTANDERS].echo(b"not disturbed")
        fresh.append(client)
        served += 1
        if len(fresh) > 100:
            fresh.pop(0).close()
    seconds = time.monotonic() - began
    counts = lab.finish(flood)
    grown = lab.memory() - memory
    now = half_open(lab)
    went_up = {name: now[name] - signs.get(name, 0) for name in now if now[name] > signs.get(name, 0)}
    print(f"        flood: {counts['sent']} SYNs in {seconds:.0f} s ({counts['full']} did not go out), {served} clients "
          f"served, the server grew by {grown // 1024} KiB; {went_up}", flush=True)
    check(counts["sent"] > 5000, f"too few segments for a flood: {counts}")
    check(grown < FLOOD_GROWTH, f"the server grew by {grown} bytes")
    # With a large table the bound may not be reached.
    check(went_up or lab.variant.dpdk, f"no counter of half-open connections has increased: {now}")
    for client in fresh:
        client.echo(b"and after the flood")
        client.close()


def half_open(lab):
    """The counters of SYNs without a following ACK: those of the server, or of the kernel."""
    if lab.variant.bypass:
        return {name: value for name, value in lab.stats().items() if "half_open" in name or "syn" in name}
    said = lab.far.run("nstat", "-asz", "TcpExtSyncookiesSent", "TcpExtTCPReqQFullDoCookies", "TcpExtListenDrops")
    rows = [line.split() for line in said.splitlines() if not line.startswith("#")]
    return {name: int(value) for name, value, *_ in rows}


def allow_open_files(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    check(hard >= wanted, f"this needs {wanted} open files: raise the hard limit (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
