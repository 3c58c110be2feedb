"""The two test engines of the Autobahn suite, installed from PyPI: `wstest`, the reference, and `kosoku`.

`wstest` needs Python 2.7. `kosoku` runs on Python 3 but is laxer (it accepts a wrong Sec-WebSocket-Accept, masked server
frames, RSV2 and lengths that are not minimal), so it stands in only where there is no Python 2.7.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import tools

# The versions that autobahntestsuite 25.10.1 requires, without its optional accelerators except wsaccel.
SUITE = "autobahntestsuite==25.10.1"
ACCELERATOR = "wsaccel==0.6.2"
SUITE_NEEDS = (
    "setuptools==44.0.0", "six==1.16.0", "txaio==2.1.0", "incremental==16.10.1", "cryptography==3.3.2",
    "pyOpenSSL==19.1.0", "Twisted==19.10.0", "zope.interface==4.6.0", "jinja2==2.11.3", "markupsafe==1.1.1",
    "Werkzeug==1.0.1", "klein==17.10.0", "service_identity==18.1.0", "unittest2==1.1.0", "autobahn==0.10.9",
)
VIRTUALENV = "virtualenv==20.21.1"  # the last version that can make environments for Python 2.7
KOSOKU = "kosoku==0.1.0"


class Wstest:
    """The reference fuzzing client."""

    name = "wstest"

    def __init__(self):
        self.bin = _install_wstest(_python2()) / "bin/wstest"

    def command(self, cases, out, url):
        spec = {"outdir": str(out), "servers": [{"agent": "hioload", "url": url}], "cases": cases,
                "exclude-cases": [], "exclude-agent-cases": {}}
        (out / "spec.json").write_text(json.dumps(spec))
        return [self.bin, "-m", "fuzzingclient", "-s", out / "spec.json"]


class Kosoku:
    """The stand-in for machines without Python 2.7."""

    name = "kosoku"

    def __init__(self):
        self.bin = tools.venv("kosoku", KOSOKU) / "bin/kosoku"

    def command(self, cases, out, url):
        chosen = [word for case in cases for word in ("-i", case)]
        return [self.bin, "-m", "fuzzingclient", "-o", out, *chosen, url]


def best():
    """`wstest` if this machine can run it, otherwise `kosoku`, with a message."""
    if _python2():
        return Wstest()
    print("NOTE: there is no Python 2.7, so the less strict kosoku replaces the reference engine wstest", flush=True)
    return Kosoku()


def _python2():
    """A Python 2.7 with ssl and zlib, or None."""
    candidates = sorted(Path.home().glob(".pyenv/versions/2.7.*/bin/python2.7"))
    candidates += filter(None, [os.environ.get("PYTHON2"), shutil.which("python2.7"), shutil.which("python2")])
    for python in candidates:
        check = [python, "-c", "import sys, ssl, zlib; assert sys.version_info[:2] == (2, 7)"]
        if subprocess.run(check, capture_output=True).returncode == 0:
            return python
    return None


def _install_wstest(python2):
    virtualenv = tools.venv("virtualenv", VIRTUALENV) / "bin/virtualenv"
    quiet = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONWARNINGS": "ignore"}

    def install(folder):
        # Otherwise virtualenv keeps its seed packages in the home folder.
        env = quiet | {"VIRTUALENV_OVERRIDE_APP_DATA": str(tools.TOOLS / "virtualenv-data")}
        subprocess.run([virtualenv, "-q", "--no-download", "-p", python2, folder], check=True, env=env)
        pip = [folder / "bin/pip", "install", "-q"]
        tools.patiently(pip + list(SUITE_NEEDS), env=quiet)
        tools.patiently(pip + ["--no-deps", SUITE], env=quiet)
        try:
            tools.patiently(pip + ["--no-deps", ACCELERATOR], env=quiet)
        except tools.Missing as error:
            print(f"  without the accelerator the suite is slower: {error}", flush=True)

    return tools.once(tools.TOOLS / "wstest", (SUITE, ACCELERATOR, *SUITE_NEEDS), install)
