"""A case: attacks of `hioload load` over AF_XDP, from the clients' end of the pair, against the server at the other end."""

import json

import ws
from cases import case, just, one_mtu
from lab import BINARY, Lab, check

GROWTH = 192 * (1 << 20)
ATTACKS = {
    "packets": "syn-flood,rate=5k+ack-storm,rate=2k+rst-storm,rate=2k+malformed,rate=5k",
    "connections": "tiny-segments,rate=3k,connections=8+overlap,rate=3k,connections=8+bad-frames,rate=2k,connections=8"
                   "+zero-window,rate=1k,connections=16+slow-reader,rate=1k,connections=16,interval=50ms"
                   "+slow-handshake,rate=1k,connections=30,interval=200ms",
}
# The counters that must not be zero at the end of each.
SIGNS = {
    "packets": [*(f"{name}.sent" for name in ("syn-flood", "ack-storm", "rst-storm", "malformed")), "syn-flood.syn_ack"],
    "connections": ["tiny-segments.echoes", "overlap.echoes", "bad-frames.close_1002", "bad-frames.http_400",
                    "zero-window.upgraded", "slow-reader.data", "slow-handshake.opened", "slow-handshake.syn_ack"],
}


@case("attacks beside a load, from addresses of the load and of a pool: every echo is right, with them and without",
      ci=just(), all=one_mtu())
def attack(variant, folder):
    with Lab(variant, folder) as lab:
        lab.serve()
        bystander = ws.Client(lab)
        bystander.echo(b"before")
        memory = lab.memory()
        for name, attacks in ATTACKS.items():
            for source in ([], ["--attack-source", pool(variant)]):
                report = load(lab, attacks, source, folder / f"{name}.json")
                judge(name, report)
                bystander.echo(b"not disturbed")
        grown = lab.memory() - memory
        check(grown < GROWTH, f"the server grew by {grown} bytes")
        fresh = ws.Client(lab)
        fresh.echo(b"after")
        fresh.close()
        bystander.close()
        lab.server.stop()


def pool(variant):
    """Sources on the server's own network, which the server resolves: the generator answers ARP and neighbour discovery."""
    return "fd77::1:0/124" if variant.family == "v6" else "10.77.0.128/28"


def load(lab, attacks, source, file):
    """Runs a load with attacks; returns its report."""
    variant = lab.variant
    own = "fd77::21/64" if variant.family == "v6" else "10.77.0.21/24"
    queues = ",".join(map(str, range(variant.queues)))
    lab.client.run(BINARY, "load", lab.url("/echo"), "--transport", "af-xdp", "--interface", "va", "--xdp-mode",
                   variant.mode, "--queues", queues, "--ip", own, "--connections", 16, "--warmup", "500ms", "--duration",
                   "2s", "--attack", attacks, *source, "--json", file)
    return json.loads(file.read_text())


def judge(name, report):
    quiet, attacked = report["runs"]
    check((quiet["part"], attacked["part"]) == ("quiet", "attacked"), f"parts: {quiet['part']}, {attacked['part']}")
    counters = {key.removeprefix("attack."): value for key, value in attacked["extra"].items() if key.startswith("attack.")}
    times = [f"p50 {run['latency']['p50'] / 1e3:.0f} us, p99 {run['latency']['p99'] / 1e3:.0f} us" for run in (quiet, attacked)]
    print(f"        {name}: quiet {times[0]}; attacked {times[1]}; {counters}", flush=True)
    check(not quiet["errors"] and not attacked["errors"], f"errors: {quiet['errors']} {attacked['errors']}")
    check(attacked["done"] > 0, "the load completed no message")
    lacking = [sign for sign in SIGNS[name] if not counters.get(sign)]
    check(not lacking, f"no {lacking} in {counters}")
    wrong = {key: value for key, value in counters.items() if key.endswith(".wrong")}
    check(not wrong, f"wrong echoes: {wrong}")
