"""Which files of a Rust crate depend on which others, read from the sources without a compiler.

A file depends on another if its code names an item that the other file defines: in a `use` declaration or as a path. A name
that a module only re-exports leads to the file that defines it. Neither `mod child;` nor a re-export is a dependency. A child
module is a part of its parent, so a parent's use of its own children is no dependency either, while a child's use of its parent
is one. Code under `#[cfg(test)]` is not counted: tests may name everything.

Paths are resolved by name, as far as they are written out. A method call names no path, so it adds no dependency of its own:
the type that has the method is named where the value comes from.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

ITEM = re.compile(
    r"\b(?:fn|struct|enum|union|trait|type|const|static|mod|macro_rules!)\s+(?:mut\s+)?(?!fn\b|unsafe\b|_\b)([A-Za-z_]\w*)")
PATH = re.compile(r"(?<![\w:.])((?:\$?crate|super|self|[a-z_]\w*)(?:\s*::\s*[A-Za-z_]\w*)+)")
MODULE = re.compile(r"(?P<attributes>(?:#\[[^\]]*\]\s*)*)(?:pub(?:\([^)]*\))?\s+)?mod\s+(?P<name>\w+)\s*;")
USE = re.compile(r"(?P<public>\bpub(?:\([^)]*\))?\s+)?\buse\s+(?P<tree>[^;]+);")


@dataclass
class Module:
    """A module that has a file of its own."""

    file: Path
    path: tuple  # names from the root of the crate
    code: str  # without comments, strings, tests
    children: dict = field(default_factory=dict)  # name -> Module
    defined: set = field(default_factory=set)
    imports: dict = field(default_factory=dict)  # local name -> path as a tuple of names
    globs: list = field(default_factory=list)  # paths of `use path::*`


class Circle(list):
    """Files that depend on one another in a circle, and the dependencies among them."""

    def __init__(self, files, edges):
        super().__init__(sorted(files))
        self.edges = [(file, other, sorted(names)) for (file, other), names in sorted(edges.items())
                      if file in files and other in files]


class Crate:
    """The modules below one root file."""

    def __init__(self, root):
        self.modules = {}  # path -> Module
        self.root = self._load(root, (), root.parent)

    def _load(self, file, path, folder):
        """Reads a file and the modules that it declares; `folder` is where those are."""
        text = without_comments(file.read_text())
        declared = [(found["name"], found["attributes"]) for found in MODULE.finditer(without_strings(text, keep_paths=True))]
        code = without_tests(without_strings(text))
        module = Module(file, path, MODULE.sub("", code))
        self.modules[path] = module
        for name, attributes in declared:
            if re.search(r"cfg\((?:all\()?test\b", attributes):
                continue
            named = re.search(r'#\[path\s*=\s*"([^"]+)"\]', attributes)
            candidates = [file.parent / named[1]] if named else [folder / f"{name}.rs", folder / name / "mod.rs"]
            for candidate in candidates:
                if candidate.is_file():
                    inner = candidate.parent if candidate.name == "mod.rs" else candidate.parent / candidate.stem
                    module.children.setdefault(name, self._load(candidate, (*path, name), inner))
                    break
        module.code, uses = split_uses(module.code)
        module.defined = set(ITEM.findall(module.code))
        for public, tree in uses:
            for local, target in flatten(tree):
                if local == "*":
                    module.globs.append(target)
                else:
                    module.imports[local] = (target, public)
        return module

    def edges(self):
        """(file, other file) -> the names of the other's items that the file uses."""
        edges = {}
        for module in self.modules.values():
            words = set(re.findall(r"[A-Za-z_]\w*", module.code))
            for local, (target, public) in module.imports.items():
                # An import that is only handed on is no use of it. A trait may be imported for its methods alone.
                if public and local not in words:
                    continue
                self._add(edges, module, target)
            for target in module.globs:
                other = self._module(self._absolute(module, target))
                if other:
                    for name in words & (other.defined | set(other.imports)) - module.defined:
                        self._add(edges, module, (*target, name))
            for path in PATH.findall(module.code):
                self._add(edges, module, tuple(part.strip() for part in path.split("::")))
        return edges

    def circles(self):
        """The strongly connected sets of more than one file."""
        edges = self.edges()
        after = {}
        for file, other in edges:
            after.setdefault(file, set()).add(other)
        return [Circle(files, edges) for files in connected(after) if len(files) > 1]

    def _add(self, edges, module, path):
        found = self._resolve(module, path)
        if found and found[0].path[:len(module.path)] != module.path:
            edges.setdefault((module.file, found[0].file), set()).add(found[1])

    def _absolute(self, module, path):
        """The path from the crate's root, or None if it leads out of the crate."""
        first, rest = path[0], path[1:]
        if first in ("crate", "$crate"):
            return rest
        if first == "self":
            return (*module.path, *rest)
        if first == "super":
            base = module.path
            while path and path[0] == "super":
                if not base:
                    return None
                base, path = base[:-1], path[1:]
            return (*base, *path)
        if first in module.children:
            return (*module.path, *path)
        if first in module.imports:
            target = module.imports[first][0]
            if target[0] != first:
                absolute = self._absolute(module, target)
                return None if absolute is None else (*absolute, *rest)
        return None

    def _module(self, path):
        return None if path is None else self.modules.get(path)

    def _resolve(self, module, path, depth=0):
        """The module that defines the item of a path, and its name there."""
        absolute = self._absolute(module, path)
        if absolute is None or depth > 8:
            return None
        at = self.root
        for position, name in enumerate(absolute):
            if name in at.children:
                at = at.children[name]
                continue
            if name in at.defined:
                return at, name
            if name in at.imports:
                return self._resolve(at, (*at.imports[name][0], *absolute[position + 1:]), depth + 1)
            for target in at.globs:
                other = self._module(self._absolute(at, target))
                if other and name in other.defined | set(other.imports) | set(other.children):
                    return self._resolve(at, (*target, *absolute[position:]), depth + 1)
            return None
        return None  # a module by itself: its items are used by path


def without_comments(text):
    """The text with comments blanked; string and character literals stay."""
    return _scan(text, comments=True)


def without_strings(text, keep_paths=False):
    """The text with the contents of literals blanked; with `keep_paths`, not those of `#[path = \"...\"]`."""
    kept = {}
    if keep_paths:
        for found in re.finditer(r'#\[path\s*=\s*"[^"]+"\]', text):
            kept[found.start()] = found[0]
    blank = _scan(text, comments=False)
    for at, words in kept.items():
        blank = blank[:at] + words + blank[at + len(words):]
    return blank


LITERAL = re.compile(
    r"""//[^\n]*|/\*.*?\*/|b?r(?P<hashes>\#*)".*?"(?P=hashes)|[bc]?"(?:\\.|[^"\\])*"|b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\\n])'""",
    re.DOTALL)


def _scan(text, comments):
    def replace(found):
        is_comment = found[0].startswith(("//", "/*"))
        if is_comment != comments:
            return found[0] if comments else (found[0] if is_comment else '"' + re.sub(r"[^\n]", " ", found[0][2:]) + '"')
        if is_comment:
            return re.sub(r"[^\n]", " ", found[0])
        return '"' + re.sub(r"[^\n]", " ", found[0][2:]) + '"'

    return LITERAL.sub(replace, text)


def without_tests(code):
    """The code without the items under `#[cfg(test)]`."""
    while found := re.search(r"#\[cfg\((?:all\()?test\b[^\]]*\]", code):
        end = item_end(code, found.end())
        code = code[:found.start()] + re.sub(r"[^\n]", " ", code[found.start():end]) + code[end:]
    return code


def item_end(code, at):
    """Where the item that begins at `at` ends: after its block, or after its semicolon."""
    depth = 0
    for position in range(at, len(code)):
        character = code[position]
        if character in "{([":
            depth += 1
        elif character in "})]":
            depth -= 1
            if depth == 0 and character == "}":
                return position + 1
            if depth < 0:
                return position
        elif character in ";," and depth == 0:
            return position + 1
    return len(code)


def split_uses(code):
    """The code without its `use` declarations, and those: (is it public, the tree)."""
    uses = [(bool(found["public"]), found["tree"]) for found in USE.finditer(code)]
    return USE.sub(" ", code), uses


def flatten(tree, before=()):
    """The leaves of a use tree: (local name, path); `*` for a glob."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    if brace:
        prefix = (*before, *names(head))
        for part in split_commas(rest.rsplit("}", 1)[0]):
            yield from flatten(part, prefix)
        return
    path, _, alias = tree.partition(" as ")
    path = (*before, *names(path))
    if path and path[-1] == "self":
        path = path[:-1]
    if path and path[-1] == "*":
        yield "*", path[:-1]
    elif path:
        yield alias.strip() or path[-1], path


def names(path):
    return [part.strip() for part in path.split("::") if part.strip()]


def split_commas(text):
    depth, part = 0, ""
    for character in text:
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            yield part
            part = ""
        else:
            part += character
    if part.strip():
        yield part


def connected(after):
    """Tarjan's strongly connected components, without recursion."""
    index, low, stack, on_stack, found = {}, {}, [], set(), []
    for start in sorted(after):
        if start in index:
            continue
        work = [(start, iter(sorted(after.get(start, ()))))]
        index[start] = low[start] = len(index)
        stack.append(start)
        on_stack.add(start)
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(sorted(after.get(target, ())))))
                    break
                if target in on_stack:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component = set()
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        component.add(member)
                        if member == node:
                            break
                    found.append(component)
    return found
