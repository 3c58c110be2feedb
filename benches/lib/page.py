"""Makes one self-contained page of HTML from the Markdown that the benchmarks print: headings, paragraphs, tables, plots."""

import html as escape
import re

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: left; white-space: nowrap }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
code { background: #f3f3f3; padding: .1rem .3rem } strong { color: #b00020 }
figure { margin: 1.5rem 0; max-width: 48rem } figcaption { color: #555 }
"""


def html(title, text, root):
    """Returns the page. The files of plots are relative to `root`; the page contains them."""
    body = "\n".join(_block(block, root) for block in text.strip().split("\n\n") if block.strip())
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>{escape.escape(title)}</title><style>{STYLE}</style>\n<h1>{escape.escape(title)}</h1>\n{body}\n</html>\n")


def _block(block, root):
    if heading := re.fullmatch(r"(#+) (.*)", block.strip()):
        level = min(len(heading[1]), 6)
        return f"<h{level}>{_inline(heading[2])}</h{level}>"
    if plot := re.fullmatch(r"!\[(.*)\]\((.*)\)", block.strip()):
        file = root / plot[2]
        drawing = file.read_text() if file.is_file() else "(not drawn)"
        return f"<figure>{drawing}<figcaption>{_inline(plot[1])}</figcaption></figure>"
    lines = block.strip().splitlines()
    if len(lines) > 1 and re.fullmatch(r"[|:\- ]+", lines[1]):
        return _table(lines)
    return f"<p>{_inline(' '.join(lines))}</p>"


def _table(lines):
    cells = [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in lines]
    numbers = [rule.endswith(":") for rule in cells[1]]

    def row(line, tag):
        classes = (' class="number"' if number else "" for number in numbers)
        return "<tr>" + "".join(f"<{tag}{kind}>{_inline(cell)}</{tag}>" for cell, kind in zip(line, classes)) + "</tr>"

    return "<table>" + row(cells[0], "th") + "".join(row(line, "td") for line in cells[2:]) + "</table>"


def _inline(text):
    text = escape.escape(text, quote=False)
    text = re.sub(r"`([^`]*)`", r"<code>\1</code>", text)
    return re.sub(r"\*\*([^*]*)\*\*", r"<strong>\1</strong>", text)
