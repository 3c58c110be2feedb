"""Cases: the suites of the socket transport, unchanged, against a server in another namespace."""

import json
import os
import subprocess
import sys

from cases import case, just, one_mtu, spread
from lab import HERE, Failed, Lab, check

TESTS = HERE.parent
ROOT = TESTS.parent

# What is left out here, with the reason.
ELSEWHERE = {
    "command_line::": "what is said about wrong flags, files and taken ports has no network in it",
}

# A part of every group of the suite: the slow ones are those of much data.
AUTOBAHN = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.[1-4].*", "6.1[0-9].*", "7.*", "9.[1-2].[1-4]", "9.[3-4].[5-9]",
            "9.[7-8].[4-6]", "10.*", "12.1.[1-3]", "12.3.5", "13.1.4", "13.5.4"]


@case("hostile clients, as on sockets", ci=spread(), all=one_mtu())
def hostile(variant, folder):
    left_out = {name: why for name, why in ELSEWHERE.items()}
    for name, why in left_out.items():
        print(f"        without {name}* ({why})", flush=True)
    skips = [word for name in left_out for word in ("--skip", name)]
    with Lab(variant, folder) as lab:
        # One at a time: each test starts a server of its own, and there is one interface.
        suite(lab, "hostile", test_program("hostile"), "--test-threads", 1, *skips)


@case("the Autobahn suite, strict", ci=just("native", 2), all=one_mtu())
def autobahn(variant, folder):
    with Lab(variant, folder) as lab:
        suite(lab, "autobahn", TESTS / "autobahn/run", *AUTOBAHN)


@case("npm's ws and PyPI's websockets", ci=just("skb", 1, "v6"), all=one_mtu())
def clients(variant, folder):
    with Lab(variant, folder) as lab:
        suite(lab, "clients", TESTS / "clients/run")


def suite(lab, name, *command):
    """Runs a suite in the clients' namespace; what it says goes to a file."""
    out = lab.folder / f"{name}.txt"
    lab.logs.append(out)
    with out.open("w") as said:
        process = lab.start(lab.client, *command, stdout=said, stderr=subprocess.STDOUT, cwd=ROOT,
                            env=lab.environment())
        code = process.wait()
    lines = out.read_text().splitlines()
    summary = [line for line in lines if line.startswith("test result:") or " passed" in line or "all passed" in line]
    print(f"        {summary[-1] if summary else '(no summary)'}", flush=True)
    failed = [line for line in lines if "FAIL" in line]
    check(code == 0, f"{name}: exit code {code}\n" + "\n".join(failed[:20]))


def test_program(name):
    """The path of a test program of the workspace, up to date. Built as `cargo test --workspace` does, with the same features."""
    build = ["cargo", "test", "--workspace", "--no-run", "--message-format=json", "--test", name]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(build)}:\n{done.stderr}")
    for line in done.stdout.splitlines():
        built = json.loads(line)
        if built.get("reason") == "compiler-artifact" and built["target"]["name"] == name and built["executable"]:
            return built["executable"]
    raise Failed(f"cargo built no test called {name}")


def prepare(names):
    """Installs and builds what suites need: there is no way out of the namespaces."""
    sys.path.insert(0, str(TESTS / "autobahn"))
    import engines
    import tools
    if "hostile" in names:
        test_program("hostile")
    if "autobahn" in names:
        engines.best()
    if "clients" in names:
        tools.node_environment()
        tools.python()
