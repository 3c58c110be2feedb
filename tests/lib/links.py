#!/usr/bin/env python3
"""Finds references of the documents that lead nowhere: relative links, their headings, and names of source files.

As a program, it prints one line for each and ends with 1 if there is any. `dead(root)` returns the lines."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^ *(```|~~~).*?^ *\1\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
# A file of the repository in backquotes: `engine/src/lcore.rs`, `redirect.bpf.c`. With a folder it is taken from the root,
# from crates/ or from the document's own folder; without one, any file of that name will do.
FILE = re.compile(r"`([A-Za-z0-9_./-]+\.(?:rs|c|h|py|md|toml|yml|txt|svg))`")
# What documents name that is not a file of the repository.
FOREIGN = {"/run/hioload.sock", "report.html", "Cargo.lock"}


def files(root):
    """Returns the paths that git knows or would add, relative to the root."""
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=root, check=True,
                            capture_output=True, text=True)
    return {name for name in listed.stdout.splitlines() if (root / name).exists()}


def dead(root=ROOT):
    """Returns a line for each reference of a Markdown document that leads nowhere."""
    known = files(root)
    names = {Path(name).name for name in known}
    lines = []
    for document in sorted(name for name in known if name.endswith(".md")):
        text = FENCE.sub("", (root / document).read_text())
        for target in LINK.findall(text):
            if why := _dead_link(root, document, target):
                lines.append(f"{document}: {target}: {why}")
        # The changelog names files as they were.
        for name in [] if document == "CHANGELOG.md" else FILE.findall(text):
            if name not in FOREIGN and not _is_file(root, document, name, names):
                lines.append(f"{document}: `{name}`: there is no such file")
    return lines


def _dead_link(root, document, target):
    """Returns why a relative link leads nowhere, or None."""
    if re.match(r"[a-z]+:", target):
        return None
    path, _, heading = target.partition("#")
    file = (root / document).parent / path if path else root / document
    if not file.exists():
        return "there is no such file"
    if root not in [file.resolve(), *file.resolve().parents]:
        return "it leaves the repository"
    if heading and heading not in {_anchor(title) for title in HEADING.findall(FENCE.sub("", file.read_text()))}:
        return "there is no such heading"
    return None


def _anchor(title):
    """Returns the name that a heading has in links: lower case, without punctuation, with hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def _is_file(root, document, name, names):
    if "/" not in name:
        return name in names
    return any((folder / name).is_file() for folder in (root, root / "crates", (root / document).parent))


if __name__ == "__main__":
    found = dead()
    print("\n".join(found) or "every reference of the documents leads somewhere")
    sys.exit(1 if found else 0)
