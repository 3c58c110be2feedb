"""Cases: the suites of the socket transport, unchanged, against a server in another namespace."""

import concurrent.futures
import contextlib
import re
import socket
import subprocess
import sys
import threading

import build
from cases import case, just, one_mtu, spread
from lab import HERE, Lab, check, command
from variant import PORT

TESTS = HERE.parent
ROOT = TESTS.parent

# The tests that are skipped, and why.
ELSEWHERE = {
    "command_line::": "errors of flags, files and ports in use need no network",
    "control::": "the control socket is not on the network; the case `flows` uses it",
}
# The tests that are skipped with more than one queue, and why.
ON_ONE_LCORE = {
    "topics::subscribers_can_disconnect_at_any_time":
        "it relies on the order of messages of two connections, which several lcores do not keep",
}

SHARES = 4  # of the hostile clients, at the same time

# A part of every group of the suite, without the slow cases with much data.
AUTOBAHN = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.[1-4].*", "6.1[0-9].*", "7.*", "9.[1-2].[1-4]", "9.[3-4].[5-9]",
            "9.[7-8].[4-6]", "10.*", "12.1.[1-3]", "12.3.5", "13.1.4", "13.5.4"]


@case("hostile clients, as on sockets", ci=just("native", 1, "v4"), all=one_mtu())
def hostile(variant, folder):
    program = build.test_program("hostile")
    left_out = ELSEWHERE if variant.queues == 1 else ELSEWHERE | ON_ONE_LCORE
    for name, why in left_out.items():
        print(f"        without {name}* ({why})", flush=True)
    listed = command(program, "--list")
    names = [line.removesuffix(": test") for line in listed.splitlines() if line.endswith(": test")]
    for name in left_out:
        check(any(test.startswith(name) for test in names), f"the suite has no test {name} to skip: it has another name")
    names = [name for name in names if not name.startswith(tuple(left_out))]
    # Each test starts its own server on the only interface, so they run one at a time, and mostly wait. So several labs run
    # at once.
    with concurrent.futures.ThreadPoolExecutor(SHARES) as pool, contextlib.ExitStack() as stack:
        work = []
        for number in range(SHARES):
            share = folder / f"share-{number}"
            share.mkdir()
            lab = stack.enter_context(Lab(variant, share))
            words = [program, "--test-threads", 1, "--exact", *names[number::SHARES]]
            work.append(pool.submit(suite, lab, "hostile", *words))
        passed = sum(part.result() for part in work)
    check(passed == len(names), f"{passed} tests passed of {len(names)}")


@case("the Autobahn suite, strict", ci=just("native", 2), all=one_mtu())
def autobahn(variant, folder):
    with Lab(variant, folder) as lab:
        if variant.family == "v4":
            suite(lab, "autobahn", TESTS / "autobahn/run", *AUTOBAHN)
            return
        # Its client has no IPv6: it connects to an IPv4 address on its own side, which forwards over IPv6.
        lab.serve("--max-message", 16 << 20)
        with lab.client.inside():
            near = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=forward, args=(lab, near), daemon=True).start()
        scheme = "wss" if lab.server.ca else "ws"
        url = f"{scheme}://127.0.0.1:{near.getsockname()[1]}/echo"
        suite(lab, "autobahn", TESTS / "autobahn/run", "--url", url, *AUTOBAHN)
        near.close()
        lab.server.stop()


def forward(lab, near):
    """Forwards each connection to `near` to the server, byte for byte."""
    with contextlib.suppress(OSError):  # it is closed
        while True:
            one, _ = near.accept()
            with lab.client.inside():
                other = socket.create_connection((lab.variant.server, PORT))
            for pair in ((one, other), (other, one)):
                threading.Thread(target=pump, args=pair, daemon=True).start()


def pump(source, sink):
    with contextlib.suppress(OSError):  # a reset is passed on as an end
        while piece := source.recv(1 << 18):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@case("npm's ws and PyPI's websockets", ci=just("skb", 1, "v6"), all=one_mtu())
def clients(variant, folder):
    with Lab(variant, folder) as lab:
        suite(lab, "clients", TESTS / "clients/run")


def suite(lab, name, *words):
    """Runs a suite in the clients' namespace; its output goes to a file. Returns how many tests passed, if the output says so."""
    out = lab.folder / f"{name}.txt"
    with out.open("w") as said:
        process = lab.start(lab.client, *words, stdout=said, stderr=subprocess.STDOUT, cwd=ROOT, env=lab.environment())
        code = process.wait()
    text = out.read_text()
    summary = [line for line in text.splitlines() if line.startswith("test result:") or "passed" in line]
    print(f"        {summary[-1] if summary else '(no summary)'}", flush=True)
    failed = [line for line in text.splitlines() if "FAIL" in line]
    check(code == 0, f"{name}: exit code {code}\n" + "\n".join(failed[:20]))
    counted = re.search(r"(\d+) passed", text)
    return int(counted[1]) if counted else 0


def prepare(names):
    """Installs and builds the requirements of the suites: the namespaces have no network."""
    sys.path.insert(0, str(TESTS / "autobahn"))
    import engines
    import tools
    if "hostile" in names:
        build.test_program("hostile")
    if "autobahn" in names:
        engines.best()
    if "clients" in names:
        tools.node_environment()
        tools.python()
