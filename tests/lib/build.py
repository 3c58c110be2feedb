"""What the tests build: one selection of packages and one set of features, so that cargo compiles each crate once for each profile."""

import json
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEBUG = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"

WITHOUT_FEATURES = ("--workspace", "--exclude", "hioload-dpdk", "--exclude", "hioload-dpdk-sys")
WITH_AF_XDP = (*WITHOUT_FEATURES, "--features", "hioload/af-xdp")
WITH_DPDK = ("--workspace", "--features", "hioload/af-xdp,hioload/dpdk")
PROGRAMS = ("--bins", "--examples")
# tests/run has built all programs before this step. Asking cargo again would wait for the steps beside it, which lock its folder.
BUILT = "HIOLOAD_TEST_BUILT" in os.environ


class Failed(Exception):
    """Cargo did not build what was asked for; the text is what it said."""


def features():
    """The features of the command that this machine can build."""
    found = shutil.which("pkg-config") and subprocess.run(["pkg-config", "--exists", "libdpdk"]).returncode == 0
    return ("af-xdp", "dpdk") if found else ("af-xdp",)


def selection():
    """The packages and features that the tests build here, as arguments of cargo."""
    return WITH_DPDK if "dpdk" in features() else WITH_AF_XDP


def programs():
    """Builds all programs and examples, without optimisation, into DEBUG. Together they have the dependencies of the tests."""
    if not BUILT:
        _cargo("build", *PROGRAMS)


def command(release=False):
    """The path of the command, up to date: as developers build it, or the release build."""
    if BUILT:
        return DEBUG.parent / ("release" if release else "debug") / "hioload"
    # Without optimisation it is one of the programs: built alone it has fewer features, with which cargo compiles everything again.
    return _built("hioload", "build", *(["--release", "--bin", "hioload"] if release else PROGRAMS))


def test_program(name):
    """The path of a test program, up to date."""
    return _built(name, "test", "--no-run", "--test", name)


def _built(name, *words):
    for line in _cargo(*words, "--message-format=json").splitlines():
        built = json.loads(line)
        if built.get("reason") == "compiler-artifact" and built["target"]["name"] == name and built["executable"]:
            return built["executable"]
    raise Failed(f"cargo built no {name}")


def _cargo(command, *words):
    words = ["cargo", command, *selection(), *words]
    done = subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(words)}:\n{done.stderr}")
    return done.stdout
