"""Cases: how the server ends and restarts, and how an operator observes it."""

import json
import signal
import subprocess
import time

import ws
from cases import BYPASS, case, just, one_mtu, spread
from lab import BINARY, INTERFACE, Lab, accounted, check, command, eventually
from variant import DPDK

KILLS = 10


@case("kill -9 and start again at once, ten times; nothing stays attached", ci=spread(), all=one_mtu(),
      only=("sockets", "af-xdp", "dpdk-af-packet"))  # DPDK's net_af_xdp leaves its program attached
def kill(variant, folder):
    with Lab(variant, folder) as lab:
        for turn in range(KILLS):
            server = lab.serve()
            client = ws.Client(lab)
            client.echo(ws.noise(turn, 5000))
            if variant.transport == "af-xdp":
                check(variant_attached(lab), f"nothing is attached while it runs: {lab.far.ip('link')}")
            server.process.kill()
            server.process.wait()
            server.process.stdout.close()
            if turn % 2:  # every other time the next server starts without this check
                check(not lab.attached(), f"attached after kill -9: {lab.attached()}")
            client.drop()
        lab.serve()
        client = ws.Client(lab)
        client.echo(b"alive after all")
        client.close()
        lab.server.stop()
        check(not lab.attached(), f"attached after the end: {lab.attached()}")


def variant_attached(lab):
    """Whether the program is attached in the mode of the variant."""
    shown = lab.attached()
    return "xdpgeneric" in shown if lab.variant.mode == "skb" else "xdp" in shown and "xdpgeneric" not in shown


@case("the interface goes down and up, and a connection goes on", ci=spread(), all=one_mtu())
def updown(variant, folder):
    with Lab(variant, folder) as lab:
        lab.serve()
        client, silent = ws.Client(lab), ws.Client(lab)
        for end, interface in ((lab.far, INTERFACE), (lab.client, "va"), (lab.far, INTERFACE)):
            client.echo(ws.noise(1, 100_000))
            end.ip("link", "set", "dev", interface, "down")
            if interface == INTERFACE:  # with its own end down a client could not connect
                client.send(b"said while it was down")
            time.sleep(1)
            end.ip("link", "set", "dev", interface, "up")
            if interface == INTERFACE:
                check(client.message() == b"said while it was down", "another message came")
            client.echo(ws.noise(2, 100_000))
        silent.echo(b"said nothing meanwhile")
        late = ws.Client(lab)
        late.echo(b"new ones come in")
        for one in (client, silent, late):
            one.close()
        lab.server.stop()


@case("the interface is deleted: the server reports it in one line, returns every mbuf, and ends with code 1", ci=just(),
      all=one_mtu(), only=DPDK)
def gone(variant, folder):
    with Lab(variant, folder) as lab:
        server = lab.serve()
        client = ws.Client(lab)
        client.echo(ws.noise(1, 100_000))
        lab.far.ip("link", "delete", "dev", INTERFACE)
        code = server.process.wait(60)
        log = server.log.read_text()
        check(code == 1, f"it ended with {code}: {log}")
        check(log.splitlines()[-1].endswith("has been removed"), f"its last line: {log}")
        check(accounted(log), f"frames are missing: {log}")
        server.process.stdout.close()


@case("SIGTERM: every client receives its replies and Close 1001, and the server ends with code 0", ci=spread(), all=one_mtu())
def drain(variant, folder):
    with Lab(variant, folder) as lab:
        lab.serve("--drain-jitter", "300ms")
        clients = [ws.Client(lab) for _ in range(50)]
        for number, client in enumerate(clients):
            client.echo(b"%d" % number)
            client.send(ws.noise(number, 3000))
        for number, client in enumerate(clients):
            check(client.message() == ws.noise(number, 3000), f"connection {number} got another echo")
        lab.server.process.send_signal(signal.SIGTERM)
        for client in clients:
            client.closed(1001)
        check(lab.server.process.wait(60) == 0, f"exit code {lab.server.process.returncode}")
        check(not lab.attached(), f"attached after the end: {lab.attached()}")


@case("hioload flows lists the connections as ss -ti would", ci=spread(), all=one_mtu(), only=BYPASS)
def flows(variant, folder):
    with Lab(variant, folder) as lab:
        lab.serve()
        clients = [ws.Client(lab) for _ in range(5)]
        for client in clients:
            client.echo(ws.noise(5, 50_000))
        for client in clients:
            port = client.socket.getsockname()[1]
            end = f"[{variant.client}]:{port}" if variant.family == "v6" else f"{variant.client}:{port}"
            check([row["peer"] for row in listed(lab)].count(end) == 1, f"{end} is not listed once")
            found = listed(lab, "--details", "--peer", end)
            check([row["peer"] for row in found] == [end], f"asked for {end}, got {found}")
            row = found[0]
            check(row["state"] == "ESTABLISHED" and row["rtt"] is not None and row["cwnd"] > 0, f"implausible: {row}")
            check(abs(row["mss"] - client.mss) <= 12, f"an MSS of {row['mss']} here, of {client.mss} there")
        empty = lambda: not any(row["recv_queue"] or row["send_queue"] for row in listed(lab))
        eventually("all bytes are acknowledged and consumed", empty)
        said = lab.far.run(BINARY, "flows", "--socket", lab.control, "--details")
        for word in ("State", "Recv-Q", "Send-Q", "ESTAB", "rtt:", "cwnd:", "mss:"):
            check(word in said, f"{word} is missing in: {said}")
        clients.pop().close()
        eventually("the closed one is no longer established", lambda: len(established(lab)) == 4)
        for client in clients:
            client.close()
        lab.server.stop()


def listed(lab, *options):
    """The rows of `hioload flows`."""
    said = lab.far.run(BINARY, "flows", "--socket", lab.control, "--json", *options)
    return [row for line in said.splitlines() if "peer" in (row := json.loads(line))]


def established(lab):
    return [row for row in listed(lab) if row["state"] == "ESTABLISHED"]


@case("clients vanish without FIN or RST: connections with unacknowledged data are aborted", ci=just(), all=one_mtu(),
      only=BYPASS)
def vanish(variant, folder):
    with Lab(variant, folder) as lab:
        lab.serve("--user-timeout", "2s", "--ping-interval", "1s", "--idle-timeout", "0")
        clients = [ws.Client(lab) for _ in range(20)]
        for client in clients:
            client.echo(b"here")
        check(len(established(lab)) == 20, f"{len(established(lab))} connections are listed, not 20")
        lab.client.ip("link", "set", "dev", "va", "down")
        # The server's pings get no acknowledgement.
        eventually("no connection is left", lambda: not established(lab))
        lab.client.ip("link", "set", "dev", "va", "up")
        late = ws.Client(lab)
        late.echo(b"a new one")
        late.close()
        lab.server.stop()


@case("the tap, started while the server runs: tshark reads the file, reports no fault, and finds the WebSocket frames",
      ci=spread(), all=one_mtu(), only=BYPASS)
def tap(variant, folder):
    recorded = folder / "tap.pcapng"
    with Lab(variant, folder) as lab:
        lab.serve()
        before = ws.Client(lab)
        before.echo(b"not recorded")
        lab.far.run(BINARY, "tap", "start", "--socket", lab.control, "--file", recorded)
        client = ws.Client(lab)
        for size in (10, 1000, 5000, 100_000):
            client.echo(ws.noise(size, size))
        lab.client.run("ping", "-i", 0.02, "-c", 3, "-w", 60, variant.server)
        client.close()
        print(f"        {lab.far.run(BINARY, 'tap', 'stop', '--socket', lab.control).strip()}", flush=True)
        size = recorded.stat().st_size
        before.echo(ws.noise(1, 100_000))
        check(recorded.stat().st_size == size, "the recording continues after its end")
        before.close()
        lab.server.stop()
    faults = tshark(recorded, "_ws.malformed || _ws.expert.severity == error")
    check(not faults, f"tshark reports errors:\n{faults}")
    # Sent frames are recorded before the kernel has filled in their checksum, so only received ones are checked.
    address = f"ip{'v6' if variant.family == 'v6' else ''}.dst == {variant.server}"
    verify = ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]
    faults = tshark(recorded, f"{address} && tcp.checksum.status == 0", *verify)
    check(not faults, f"checksums are wrong:\n{faults}")
    # Each queue's frames are in their order, but with several queues the file is not sorted by time.
    ordered = folder / "ordered.pcapng"
    command("reordercap", recorded, ordered)
    seen = {what: len(tshark(ordered, what).splitlines()) for what in ("frame", "tcp", "websocket", "icmp || icmpv6")}
    check(seen["tcp"] > 100 and seen["websocket"] >= 8 and seen["icmp || icmpv6"] >= 6, f"recorded: {seen}")


def tshark(path, filter, *more):
    """The frames of a file that match a display filter, one per line."""
    options = ["-d", "tcp.port==9001,http", *more]
    done = subprocess.run(["tshark", "-r", path, *options, "-Y", filter], capture_output=True, text=True)
    noise = [line for line in done.stderr.splitlines() if "Running as user" not in line and line.strip()]
    check(done.returncode == 0 and not noise, f"tshark reports errors in {path}: {done.returncode} {done.stderr}")
    return done.stdout


LOOKED_AT = ("build", "kernel", "btf", "privileges", "huge pages", "isolation", "program", "interface", "xdp program", "xdp mode",
             "zero-copy", "checksums", "mtu", "queues", "rss", "rings", "offloads", "interrupts", "numa")


@case("hioload check examines the interface, tries it and leaves nothing; it reports a running server and missing parts",
      ci=just(queues=2), all=one_mtu(), only=("af-xdp",))
def machine(variant, folder):
    with Lab(variant, folder) as lab:
        for trial in ([], ["--trial"]):
            code, found = looked(lab, *lab.far.prefix, BINARY, "check", "--interface", INTERFACE, *trial)
            check(code == 0, f"exit code {code}: {found}")
            if missing := set(LOOKED_AT) - set(found):
                check(False, f"no finding on {missing}: {found}")
            check(found["xdp mode"]["level"] == "ok" and "native" in found["xdp mode"]["found"], f"{found['xdp mode']}")
            check(found["queues"]["found"].startswith(str(variant.queues)), f"{found['queues']}")
            eventually("nothing is attached", lambda: not lab.attached())
        said = lab.far.run(BINARY, "check", "--interface", INTERFACE)
        for subject in LOOKED_AT:
            check(any(line[9:].startswith(subject) for line in said.splitlines()), f"no line of {subject} in:\n{said}")
        # A missing interface is reported with a hint.
        code, found = looked(lab, *lab.far.prefix, BINARY, "check", "--interface", "nonesuch")
        check(code == 1 and found["interface"]["level"] == "missing" and found["interface"]["hint"], f"{code}: {found}")
        # Without root it names the missing capabilities and the command that grants them.
        nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set=-all"]
        code, found = looked(lab, *lab.far.prefix, *nobody, BINARY, "check")
        check(code == 1 and "CAP_NET_ADMIN" in found["privileges"]["found"], f"{code}: {found}")
        check("setcap" in found["privileges"]["hint"], f"{found['privileges']}")
        lab.serve()
        code, found = looked(lab, *lab.far.prefix, BINARY, "check", "--interface", INTERFACE)
        check(code == 1 and f"kill {lab.server.pid}" in found["xdp program"]["hint"], f"{code}: {found}")
        client = ws.Client(lab)
        client.echo(b"not disturbed")
        client.close()
        lab.server.stop()


def looked(lab, *words):
    """Runs `hioload check`: its exit code, and its findings by subject."""
    done = subprocess.run([*map(str, words), "--json"], capture_output=True, text=True, timeout=120)
    check(done.returncode in (0, 1), f"exit code {done.returncode}: {done.stderr}")
    return done.returncode, {finding["subject"]: finding for finding in json.loads(done.stdout)}


@case("impossible arguments, and an interface that is removed: an error of one line, and its exit code", ci=just(),
      all=one_mtu(), only=("af-xdp",))
def refusals(variant, folder):
    with Lab(variant, folder) as lab:
        start = [*lab.far.prefix, BINARY, "serve", "--control", "none", "--transport", "af-xdp"]
        own = ["--interface", INTERFACE, "--ip", "10.77.0.2/24"]
        listen = ["--listen", "10.77.0.2:9001"]
        nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set=-all"]
        for words, part in (
            ([*start, *listen, "--ip", "10.77.0.2/24"], "--interface"),
            ([*start, *listen, "--interface", INTERFACE], "--ip"),
            ([*start, *listen, "--interface", "nonesuch", "--ip", "10.77.0.2/24"], "nonesuch"),
            ([*start, *listen, "--interface", "lo", "--ip", "10.77.0.2/24"], "lo is not"),
            ([*start, *own, "--listen", "10.77.0.3:9001"], "10.77.0.3"),
            ([*start, *own, *listen, "--queues", "0,7"], "queue 7"),
            ([*start, *own, *listen, "--gateway", "10.78.0.1"], "10.78.0.1"),
            ([*start, *own, *listen, "--vlan", "4095"], "4095"),
            ([*start, *own, *listen, "--mac", "ff:ff:ff:ff:ff:ff"], "ff:ff:ff:ff:ff:ff"),
            ([*start, *listen, "--interface", INTERFACE, "--ip", "127.0.0.1/8"], "127.0.0.1/8"),
            ([*lab.far.prefix, *nobody, *start[len(lab.far.prefix):], *own, *listen], "setcap"),
        ):
            done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=120)
            lines = done.stderr.strip().splitlines()
            check(done.returncode == 2 and len(lines) == 1 and part in lines[0],
                  f"{words[len(lab.far.prefix):]}: exit code {done.returncode}: {done.stderr}")
        lab.serve()
        done = subprocess.run(list(map(str, [*start, *own, *listen])), capture_output=True, text=True, timeout=120)
        check(done.returncode == 2 and f"kill {lab.server.pid}" in done.stderr, f"a second server: {done.stderr}")
        client = ws.Client(lab)
        client.echo(b"while it is there")
        lab.far.ip("link", "del", INTERFACE)
        check(lab.server.process.wait(60) == 1, f"exit code {lab.server.process.returncode}")
        said = lab.logs[-1].read_text()
        check(f"the interface {INTERFACE} has been removed" in said, said)
        client.drop()
