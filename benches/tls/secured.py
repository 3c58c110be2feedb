"""The servers of the comparison with TLS, all with the same certificate, and what clients need to know of them."""

import contextlib
import re
import subprocess
from pathlib import Path

import machine
import servers

PEERS = Path(__file__).resolve().parents[1] / "peers"

# Name -> its command, with ADDRESS and the files in it. {bin} is the folder of release binaries.
COMMANDS = {
    "hioload": "{bin}/hioload serve --listen ADDRESS --lcores 1 --idle block --control none --max-connections 20000 "
               "--tls-certificate {folder}",
    "hioload without TLS": "{bin}/hioload serve --listen ADDRESS --lcores 1 --idle block --control none --max-connections 20000",
    "fastwebsockets": "{bin}/peer-fastwebsockets --listen ADDRESS --certificate {folder}/cert.pem --key {folder}/key.pem",
    "bun": f"{servers.BUN} {PEERS}/bun.js ADDRESS {{folder}}/cert.pem {{folder}}/key.pem",
}
PLAIN, NGINX = "hioload without TLS", "nginx + hioload"
SERVERS = [*COMMANDS, NGINX]

# As its documentation has it for WebSockets, with connections to the server that are kept, and no limit in the way.
NGINX_CONF = """
user root;
daemon off;
master_process off;
pid {folder}/nginx.pid;
worker_rlimit_nofile 40000;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen {address} ssl;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        tcp_nodelay on;
        location / {{
            proxy_pass http://{behind};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $http_host;
            proxy_read_timeout 1h;
        }}
    }}
}}
"""


def make_certificate(options):
    """Makes the certificate of this run in the folder of the run."""
    command = [options.bin / "hioload", "cert", "dev", "--dir", options.folder, "--name", "10.77.0.2", "--name", "fd77::2"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def server(name, options):
    """Runs a server on its core; yields the URL of its echo and the ids of its processes."""
    address = servers.free_address()
    if name == NGINX:
        with server(PLAIN, options) as (url, pids):
            behind = url.split("/")[2]
            config = options.folder / "nginx.conf"
            config.write_text(NGINX_CONF.format(folder=options.folder, address=address, behind=behind))
            command = ["/usr/sbin/nginx", "-p", options.folder, "-e", "stderr", "-c", config]
            with servers.running(name, command, address, options.server_core) as pid:
                yield f"wss://{address}/echo", [pid, *pids]
        return
    command = COMMANDS[name].format(bin=options.bin, folder=options.folder).replace("ADDRESS", address).split()
    with servers.running(name, command, address, options.server_core) as pid:
        yield f"{'ws' if name == PLAIN else 'wss'}://{address}/echo", [pid]


def trust(options, url):
    """The options with which `hioload load` trusts a server."""
    return ["--ca", options.folder / "ca.pem"] if url.startswith("wss") else []


def agreements(options):
    """A sentence on what each server agrees on with a client that prefers what `hioload load` does."""
    found = {}
    for name in options.only:
        if name == PLAIN:
            continue
        with server(name, options) as (url, _):
            found[name] = _agreed(url.split("/")[2])
    versions = {"fastwebsockets": f"fastwebsockets {machine.locked('fastwebsockets')} on tokio-rustls {machine.locked('tokio-rustls')}",
                "bun": f"Bun {servers.BUN_VERSION}", NGINX: _nginx_version}
    against = [known() if callable(known) else known for name in options.only if (known := versions.get(name))]
    suites = sorted(set(found.values()))
    each = suites[0] if len(suites) == 1 else "; ".join(f"{name}: {suite}" for name, suite in found.items())
    return f"Against {', '.join(against) or 'no other server'}. Suite: {each}."


def _agreed(address):
    preferred = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
    done = subprocess.run(["openssl", "s_client", "-connect", address, "-ciphersuites", preferred], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=30)
    suite = re.search(r"Cipher is (\S+)", done.stdout)
    return suite[1] if suite else "unknown"


def _nginx_version():
    done = subprocess.run(["/usr/sbin/nginx", "-v"], capture_output=True, text=True)
    return done.stderr.strip().rpartition(" ")[2].replace("/", " ") + " in front of hioload"
