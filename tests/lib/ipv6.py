"""IPv6, which a machine may lack and some tests need."""

import functools
import os
import sys
from pathlib import Path


@functools.cache
def has_ipv6():
    """Whether the kernel has IPv6. Without it, tests that need it are skipped, which is said once; if the variable CI is set, that is a
    failure. Containers with IPv6 turned off have it in the namespaces that a test makes."""
    if Path("/proc/sys/net/ipv6").exists():
        return True
    message = "tests that need IPv6 are skipped: this kernel has none"
    if os.environ.get("CI"):
        sys.exit(f"{message}, and CI is set")
    print(message, flush=True)
    return False
