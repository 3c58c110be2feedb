"""Tables in Markdown, and the statistics in them."""

import statistics


def row(columns):
    return "| " + " | ".join(map(str, columns)) + " |"


def table(head, rows, words=1):
    """Returns the lines of a table and an empty one. The first `words` columns are text, the others numbers."""
    rule = ["---"] * words + ["---:"] * (len(head) - words)
    return [row(head), row(rule), *map(row, rows), ""]


def median(rounds, key):
    """Returns the median of a figure over the rounds."""
    return statistics.median(figures[key] for figures in rounds)


def ratio(ours, theirs, key):
    """Returns the median over the rounds of our figure divided by theirs. A disturbance of a round affects both."""
    pairs = [(a[key], b[key]) for a, b in zip(ours, theirs)]
    return statistics.median(a / b if b else float("nan") for a, b in pairs)


def rotated(items, by):
    """Returns the items, starting with another one in each round."""
    by %= len(items)
    return [*items[by:], *items[:by]]


def times(x, digits=2):
    return f"{x:.{digits}f}x"


def ns(x):
    return f"{x:,.0f} ns" if x >= 100 else f"{x:.1f} ns"


def us(nanos):
    """Formats nanoseconds as microseconds."""
    return f"{nanos / 1e3:,.1f} µs" if nanos < 1e5 else f"{nanos / 1e3:,.0f} µs"


def pretty(size):
    if size >= 1 << 20:
        return f"{size >> 20} MiB"
    return f"{size >> 10} KiB" if size >= 1024 else f"{size} B"
