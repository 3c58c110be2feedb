"""Authorities and certificates for the tests of TLS, made by `openssl`."""

import os
import subprocess
from pathlib import Path

KINDS = {
    "ecdsa": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "rsa": ["-newkey", "rsa:2048"],
}


class Authority:
    """An authority in a folder of its own."""

    def __init__(self, folder, name="test authority"):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / "ca.pem"
        self._key = self.folder / "ca.key"
        openssl("req", "-x509", *KINDS["ecdsa"], "-nodes", "-keyout", self._key, "-out", self.file, "-subj", f"/CN={name}",
                "-days", "30", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, name, *hosts, kind="ecdsa"):
        """The files of a new certificate, `NAME.pem` and `NAME.key`, which replace those before as certbot does: by renaming."""
        names = ",".join(f"DNS:{host}" for host in hosts or (name,))
        new = [self.folder / f"{name}.{part}.new" for part in ("pem", "key")]
        openssl("req", "-x509", "-CA", self.file, "-CAkey", self._key, *KINDS[kind], "-nodes", "-keyout", new[1],
                "-out", new[0], "-subj", f"/CN={name}", "-days", "20", "-addext", f"subjectAltName={names}",
                "-addext", "basicConstraints=critical,CA:FALSE")
        os.chmod(new[1], 0o600)
        files = [path.with_suffix("") for path in new]
        for path, final in zip(new, files):
            path.rename(final)
        return Pair(*files)


class Pair:
    """The files of a certificate and its key."""

    def __init__(self, certificate, key):
        self.certificate, self.key = certificate, key

    def __str__(self):
        return f"{self.certificate},{self.key}"

    def serial(self):
        done = openssl("x509", "-in", self.certificate, "-noout", "-serial")
        return done.stdout.strip().removeprefix("serial=")


def openssl(*words, **options):
    """Runs openssl; raises with what it says if it fails."""
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    if done.returncode:
        raise RuntimeError(f"openssl {words[0]}: {done.stderr}")
    return done
