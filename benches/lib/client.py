"""The load clients: `hioload load`, and `wsload`, which shares no code with it. Both return the same figures:

  rate         messages (fan-out: deliveries) per second
  done         messages in the measured part
  seconds      its length
  server_ns    CPU time of the server for each message, ns
  server_busy  share of a core that the server used
  client_busy  share of its core in which the client had work
  p50, p99     times, ns
"""

import json
import subprocess
import tempfile
from pathlib import Path


class Failed(Exception):
    """The client failed; the text says why."""


def load(binary, url, scenario, *flags, pid=None, core=None, prefix=(), keep=None):
    """Runs `hioload load` with one lcore on `core`; returns the figures. Appends the whole report to `keep`, a list, if given."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "load.json"
        command = [*prefix, *_pinned(core), binary, "load", *([url] if url else []), "--scenario", scenario, "--json", file]
        command += ["--lcores", f"cpu:{core}"] if core is not None else []
        command += ["--server-pid", pid] if pid is not None else []
        _run([*command, *flags])
        report = json.loads(file.read_text())
    if keep is not None:
        keep.append(report)
    return figures(report)


def figures(report):
    """Returns the figures of the only repeat of a report."""
    run = report["runs"][0]
    server, latency = run["server"] or {}, run["latency"] or {}
    return {
        "rate": run["rate"], "done": run["done"], "seconds": run["seconds"],
        "server_ns": server.get("cpu_per_done", 0.0), "server_busy": server.get("cores", 0.0),
        "client_busy": run["generator"]["cores"],
        "p50": latency.get("p50", 0), "p99": latency.get("p99", 0),
        "server_rss": server.get("rss", 0), "server_each": server.get("rss_per_connection"), "client_each": run["generator"].get("rss_per_connection"),
        "extra": run["extra"], "bottleneck": run["bottleneck"],
    }


def add_repeats(reports, name, more):
    """Adds the runs of reports to those of the same name, as repeats of one report."""
    for report in more:
        if name in reports:
            reports[name]["runs"] += report["runs"]
        else:
            reports[name] = report


def wsload(binary, address, mode, *flags, pid, core, prefix=()):
    """Runs `wsload` on its core; returns the figures."""
    said = json.loads(_run([*prefix, *_pinned(core), binary, mode, "--server", address, "--pid", pid, *flags]))
    return {
        "rate": said["messages_per_second"], "done": said["messages"], "seconds": said["seconds"],
        "server_ns": said["server_cpu_ns_per_message"], "server_busy": said["server_busy"],
        "client_busy": 1 - said["client_idle"],
        "p50": said["latency_us"]["p50"] * 1e3, "p99": said["latency_us"]["p99"] * 1e3,
    }


def _pinned(core):
    return ["taskset", "-c", core] if core is not None else []


def _run(command):
    command = [str(word) for word in command]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(command)}: still running after ten minutes") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["nothing"]
        raise Failed(f"{' '.join(command)}: exit code {done.returncode}: {said[-1]}")
    return done.stdout
