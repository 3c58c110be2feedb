"""The register of cases, and which variants of each are run."""

import dataclasses
from collections.abc import Callable

from variant import DPDK, Variant, product

CASES = {}
BYPASS = ("af-xdp", *DPDK)  # transports with TCP in user space


@dataclasses.dataclass(frozen=True)
class Case:
    """One case: `run(variant, folder)` raises if it finds something wrong."""

    name: str
    about: str
    run: Callable
    ci: Callable  # the variants of a short run
    all: Callable  # the variants of a long run
    only: tuple  # the transports that it applies to


def case(about, ci, all=lambda variants: variants, only=("sockets", *BYPASS)):
    """Registers a function as a case under its name."""

    def register(function):
        CASES[function.__name__] = Case(function.__name__, about, function, ci, all, only)
        return function

    return register


def every(mtu=(1500, 9000)):
    """All variants with one of these MTUs."""
    return lambda variants: [variant for variant in variants if variant.mtu in mtu]


def spread(mtu=1500, families=("v4", "v6")):
    """Few variants that cover every value once: native with one queue, the other mode with two."""
    one = Variant(mode="native", queues=1, family=families[0], mtu=mtu)
    other = Variant(mode="skb", queues=2, family=families[-1], mtu=mtu)
    return lambda variants: _present(variants, (one, other))


def just(mode="native", queues=1, family="v4", mtu=1500):
    """A single variant."""
    return lambda variants: _present(variants, (Variant(mode=mode, queues=queues, family=family, mtu=mtu),))


def one_mtu(mtu=1500):
    """For a long run: all variants of one MTU, where other MTUs prove nothing more."""
    return lambda variants: [variant for variant in variants if variant.mtu == mtu]


def _present(variants, wanted):
    """Those of the wanted variants that the transport has. Without modes, all modes are equal."""
    found = []
    for want in wanted:
        alike = [variant for variant in variants
                 if (variant.queues, variant.family, variant.mtu) == (want.queues, want.family, want.mtu)
                 and (variant.transport != "af-xdp" or variant.mode == want.mode)]
        found += [variant for variant in alike if variant not in found]
    return found


def chosen(case, transport, everything, fixed):
    """The variants of a case for one run. `fixed` has the demands of the command line, which override the usual choice."""
    if transport not in case.only:
        return []
    pool = product(transport)
    if not fixed and transport in DPDK and not everything:
        # Only the device differs from af-xdp, so one variant of each case is enough: on af-packet the one with more queues.
        return case.ci(pool)[-1:] or case.all(pool)[:1]
    if not fixed:
        return case.all(pool) if everything else case.ci(pool)
    matching = [variant for variant in pool if all(getattr(variant, name) == value for name, value in fixed.items())]
    if everything:
        return matching
    usual = [variant for variant in case.ci(pool) if variant in matching]
    return usual or matching[:1]
