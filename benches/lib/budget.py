"""Budgets: the targets of the project, with the measured figures."""

import dataclasses

import table

HEAD = ["budget", "set", "measured", "", "by"]


@dataclasses.dataclass(frozen=True)
class Budget:
    """One line: the subject, the bound, the figure."""

    what: str
    set: str
    got: str
    reached: bool

    def verdict(self):
        return "reached" if self.reached else "**MISSED**"


def at_most(what, got, bound, unit="x", digits=2):
    return Budget(what, f"<= {bound:g}{_spaced(unit)}", f"{got:,.{digits}f}{_spaced(unit)}", got <= bound)


def at_least(what, got, bound, unit="x", digits=2):
    return Budget(what, f">= {bound:g}{_spaced(unit)}", f"{got:,.{digits}f}{_spaced(unit)}", got >= bound)


def _spaced(unit):
    return unit if unit in ("x", "%", "") else f" {unit}"


def lines(budgets):
    """Returns the table of budgets that a benchmark prints at its end."""
    if not budgets:
        return []
    rows = [[budget.what, budget.set, budget.got, budget.verdict()] for budget in budgets]
    return ["### Budgets", "", *table.table(HEAD[:-1], rows, words=4)]


def all_reached(budgets):
    return all(budget.reached for budget in budgets)


def as_json(budgets):
    return [dataclasses.asdict(budget) for budget in budgets]
