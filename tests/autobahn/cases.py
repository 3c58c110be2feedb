"""The 517 cases of the Autobahn suite, and the ones that CI runs."""

# How many cases each group has: "1.1" has 1.1.1 to 1.1.8. A group of one level ("2") has 2.1 to 2.11.
SIZES = {
    "1.1": 8, "1.2": 8, "2": 11, "3": 7, "4.1": 5, "4.2": 5, "5": 20,
    "6.1": 3, "6.2": 4, "6.3": 2, "6.4": 4, "6.5": 5, "6.6": 11, "6.7": 4, "6.8": 2, "6.9": 4, "6.10": 3, "6.11": 5,
    "6.12": 8, "6.13": 5, "6.14": 10, "6.15": 1, "6.16": 3, "6.17": 5, "6.18": 5, "6.19": 5, "6.20": 7, "6.21": 8,
    "6.22": 34, "6.23": 7,
    "7.1": 6, "7.3": 6, "7.5": 1, "7.7": 13, "7.9": 9, "7.13": 2,
    "9.1": 6, "9.2": 6, "9.3": 9, "9.4": 9, "9.5": 6, "9.6": 6, "9.7": 6, "9.8": 6, "10.1": 1,
    "12.1": 18, "12.2": 18, "12.3": 18, "12.4": 18, "12.5": 18,
    "13.1": 18, "13.2": 18, "13.3": 18, "13.4": 18, "13.5": 18, "13.6": 18, "13.7": 18,
}

ALL = [f"{group}.{number}" for group, size in SIZES.items() for number in range(1, size + 1)]

# In the groups of compression (12: payloads of five kinds, 13: seven sets of negotiated parameters) the numbers 1 to 10 are
# 1000 messages each, of growing size, and 11 to 18 the same in fragments. These cases cover every group, small and fragmented.
COMPRESSION_IN_CI = (1, 5, 11)
COMPRESSION_IN_CI_ONCE = ("12.1.10", "12.3.8", "13.2.16", "13.6.9")


def compression(case):
    return case.startswith(("12.", "13."))


def for_ci():
    """All cases of 1 to 10, and a part of 12 and 13."""
    return [case for case in ALL if not compression(case) or case in COMPRESSION_IN_CI_ONCE
            or int(case.rsplit(".", 1)[1]) in COMPRESSION_IN_CI]


def chunks(cases):
    """Groups the cases into runs of the engine: a case that hangs stops only its own group."""
    groups = {}
    for case in cases:
        first, second, *_ = case.split(".")
        name = f"{first}.{second}" if compression(case) else first if first in ("6", "7", "9") else "base"
        groups.setdefault(name, []).append(case)
    return groups
