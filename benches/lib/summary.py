"""The table in README.md: a few lines of RESULTS.md, among them those in which a peer is better."""

import re

from table import table

BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
PEERS = ("fastwebsockets", "tungstenite", "bun")
NAMES = {"tungstenite": "tokio-tungstenite", "bun": "Bun", "sockets": "hioload on sockets"}
HEAD = ["one server core", "hioload: CPU for each message", "the best of the others", "ratio"]

# Text of the first column, section, cell.
ECHOES = [
    ("echo 64 B, 1 in flight on each of 512 connections", "Beside other servers", "echo 64 B, 1 in flight"),
    ("echo 64 B, 16 in flight on each of 512 connections", "Beside other servers", "echo 64 B, 16 in flight"),
    ("echo 16 KiB, 16 in flight on each of 512 connections", "Beside other servers", "echo 16 KiB, 16 in flight"),
    ("fan-out of 64 B to 1,000 subscribers, 16 in flight", "Beside other servers", "fan-out 1 to 1,000, 16 in flight"),
]
VETH = ("AF_XDP on a veth pair, echo 64 B, 16 in flight on each of 64", "AF_XDP beside sockets", "echo 64 B, 16 in flight on each of 64")


class Absent(Exception):
    """RESULTS.md does not hold a figure; the text says which."""


def write(readme, results):
    """Writes the table into the file `readme`, between its two marks."""
    text = readme.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    readme.write_text(f"{before}{BEGIN}\n\n{of(results.read_text())}\n\n{END}{after}")


def in_step(readme, results):
    """Returns whether the file `readme` holds the table that RESULTS.md gives."""
    return f"{BEGIN}\n\n{of(results.read_text())}\n\n{END}" in readme.read_text()


def of(results):
    """Returns the table for the text of RESULTS.md, below the line that says where its figures come from."""
    about = results.split("\n## ")[0].strip().splitlines()[-1]
    rows = [_against_peers(results, *echo) for echo in ECHOES] + [_against_sockets(results, *VETH)]
    return "\n".join(table(HEAD, rows)).strip() + f"\n\n{about}"


def _against_peers(results, what, section, cell):
    rows = _cell(results, section, cell)
    ours = _row(rows, cell, "hioload")
    key = next(column for column in ours if column.startswith("server CPU"))
    peers = [row for row in rows if row["server"] in PEERS]
    best = min(peers, key=lambda row: _number(row[key]), default=None)
    if best is None:
        raise Absent(f"{cell}: no peer")
    return [what, ours[key], f"{NAMES.get(best['server'], best['server'])}, {best[key]}", best["hioload's CPU"]]


def _against_sockets(results, what, section, cell):
    rows = [row for row in _cell(results, section, cell) if row["client"] == "bypass"]
    key = "server CPU per message"
    ours, theirs = _row(rows, cell, "af-xdp"), _row(rows, cell, "sockets")
    return [what, ours[key], f"{NAMES['sockets']}, {theirs[key]}", _row(rows, cell, "af-xdp over sockets")[key]]


def _cell(results, section, cell):
    """Returns the rows of the table of a cell, each as a dictionary by column."""
    found = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", results, re.MULTILINE | re.DOTALL)
    found = found and re.search(rf"^### {re.escape(cell)}\n\n(.*?)\n\n", found[1] + "\n\n", re.MULTILINE | re.DOTALL)
    if not found:
        raise Absent(f"{section}: no cell {cell}")
    head, _, *rows = [[column.strip() for column in line.strip()[1:-1].split("|")] for line in found[1].splitlines()]
    return [dict(zip(head, row)) for row in rows]


def _row(rows, cell, server):
    for row in rows:
        if row["server"] == server:
            return row
    raise Absent(f"{cell}: no line of {server}")


def _number(text):
    return float(text.split()[0].replace(",", ""))
