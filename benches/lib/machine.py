"""The machine of a run: its description, the builds on it, its limits and priorities."""

import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def say(text):
    print(text, file=sys.stderr, flush=True)


def line():
    """Describes the machine in a line."""
    with open("/proc/cpuinfo") as info:
        model = next((text.split(":")[1].strip() for text in info if text.startswith("model name")), platform.machine())
    commit = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(commit, cwd=ROOT, capture_output=True, text=True).stdout.strip() or "not in git"
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"the machine is not idle (load {load:.2f}): expect noise")
    return (f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, commit {commit}. "
            f"Load before: {load:.2f}.")


def locked(name):
    """Returns the version of a dependency in Cargo.lock."""
    with open(ROOT / "Cargo.lock", "rb") as lock:
        return next((p["version"] for p in tomllib.load(lock)["package"] if p["name"] == name), "?")


def binaries():
    """Returns the folder of the release binaries."""
    meta = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    found = subprocess.run(meta, cwd=ROOT, check=True, capture_output=True, text=True)
    return Path(json.loads(found.stdout)["target_directory"]) / "release"


def can_build_af_xdp():
    """Returns whether the machine can build the feature af-xdp, and so whether the binaries have it."""
    clang = subprocess.run(["clang", "--version"], capture_output=True).returncode == 0 if _has("clang") else False
    return clang and Path("/usr/include/bpf/bpf_helpers.h").exists()


def _has(program):
    return any(os.access(Path(folder) / program, os.X_OK) for folder in os.get_exec_path())


def build():
    """Builds hioload and the benchmarks' own binaries. All have the same features: with others cargo would link again, which takes
    minutes."""
    say("building")
    features = ["--features", "hioload/af-xdp"] if can_build_af_xdp() else []
    packages = ["-p", "hioload", "-p", "hioload-benches"]
    subprocess.run(["cargo", "build", "--release", "--bins", *packages, *features], cwd=ROOT, check=True)
    return binaries()


def raise_open_files():
    """Raises the limit on open files: each connection is a descriptor at both ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def take_precedence():
    """Gives the commands that this process starts precedence over others; root only. With autogroups the scheduler weighs sessions,
    so the session gets the weight as well."""
    if os.geteuid() != 0:
        return
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -19)
    with contextlib.suppress(OSError):  # a kernel without autogroups
        if os.getsid(0) != os.getpid() and os.getpgid(0) != os.getpid():
            os.setsid()
        Path("/proc/self/autogroup").write_text("-20")
