"""Cases: how it ends, how it comes back, and how one looks into it."""

import signal
import socket
import subprocess
import time

import ws
from cases import case, just, one_mtu, spread
from lab import BINARY, INTERFACE, Failed, Lab, check, eventually

KILLS = 10


@case("kill -9 and start again at once, ten times; nothing stays attached", ci=spread(), all=one_mtu())
def kill(variant, folder):
    with Lab(variant, folder) as lab:
        for turn in range(KILLS):
            server = lab.serve()
            client = ws.Client(lab)
            client.echo(ws.noise(turn, 5000))
            if variant.bypass:
                check(variant_attached(lab), f"nothing is attached while it runs: {lab.far.ip('link')}")
            server.process.kill()
            server.process.wait()
            server.process.stdout.close()
            if turn % 2:  # every other time the next one is started without a look
                check(not lab.attached(), f"attached after kill -9: {lab.attached()}")
            client.drop()
        lab.serve()
        client = ws.Client(lab)
        client.echo(b"alive after all")
        client.close()
        lab.server.stop()
        check(not lab.attached(), f"attached after the end: {lab.attached()}")


def variant_attached(lab):
    """Whether the program is attached in the way the variant says."""
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
            if interface == INTERFACE:  # with its own end down a client could not even try
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


@case("SIGTERM: everybody is told 1001, what was sent is answered, the end is in order", ci=spread(), all=one_mtu())
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


@case("hioload flows lists the connections as ss -ti would", ci=just(), all=one_mtu(), only=("af-xdp",))
def flows(variant, folder):
    with Lab(variant, folder) as lab:
        lab.serve()
        clients = [ws.Client(lab) for _ in range(5)]
        for client in clients:
            client.echo(ws.noise(5, 50_000))
        said = lab.far.run(BINARY, "flows", "--socket", lab.control)
        (folder / "flows.txt").write_text(said)
        for client in clients:
            port = client.socket.getsockname()[1]
            lines = [line for line in said.splitlines() if f"{variant.client}" in line and str(port) in line]
            check(len(lines) == 1 and "ESTAB" in lines[0].upper(), f"port {port} is not listed as it is: {said}")
        for word in ("rtt", "cwnd", "mss"):
            check(word in said.lower(), f"{word} is missing in: {said}")
        clients.pop().close()
        gone = lambda: lab.far.run(BINARY, "flows", "--socket", lab.control).upper().count("ESTAB") == 4
        eventually("the closed one is no longer established", gone)
        lab.server.stop()


@case("the tap: tshark reads what was recorded, finds no fault in it, and the WebSocket frames are there", ci=spread(),
      all=one_mtu(), only=("af-xdp",))
def tap(variant, folder):
    recorded = folder / "tap.pcapng"
    with Lab(variant, folder) as lab:
        lab.serve("--tap", recorded)
        client = ws.Client(lab)
        for size in (10, 1000, 5000, 100_000):
            client.echo(ws.noise(size, size))
        lab.client.run("ping", "-i", 0.02, "-c", 3, "-w", 60, variant.server)
        client.close()
        lab.server.stop()
    files = sorted(folder.glob("tap*.pcapng"))  # each lcore may have one of its own
    check(files, "nothing was recorded")
    frames = websocket = 0
    for path in files:
        check(not (faults := tshark(path, "_ws.malformed || _ws.expert.severity == error || tcp.checksum.status == 0")),
              f"tshark finds fault with {path}:\n{faults}")
        frames += len(tshark(path, "frame").splitlines())
        websocket += len(tshark(path, "websocket").splitlines())
    check(frames > 50 and websocket >= 8, f"{frames} frames recorded, WebSocket in {websocket} of them")


def tshark(path, filter):
    """The frames of a file that a display filter lets through, one a line."""
    told = ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-d", "tcp.port==9001,http"]
    done = subprocess.run(["tshark", "-r", path, *told, "-Y", filter], capture_output=True, text=True)
    noise = [line for line in done.stderr.splitlines() if "Running as user" not in line and line.strip()]
    check(done.returncode == 0 and not noise, f"tshark complains of {path}: {done.returncode} {done.stderr}")
    return done.stdout
