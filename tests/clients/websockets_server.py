"""PyPI's server `websockets` as an echo server for our client. Prints one JSON line of its URLs by name; ends when standard
input does, with code 1 if a connection was not closed by the client with code 1000. With a certificate and a key it speaks TLS:
websockets_server.py [CERTIFICATE KEY]"""

import asyncio
import json
import ssl
import sys

from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

KINDS = {
    "plain": {"compression": None},
    "deflate": {"compression": "deflate"},
    "deflate without contexts": {"compression": None, "extensions": [
        ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)]},
    "deflate with small windows": {"compression": None, "extensions": [
        ServerPerMessageDeflateFactory(server_max_window_bits=9, client_max_window_bits=9)]},
}

codes = []


async def echo(socket):
    try:
        async for message in socket:
            await socket.send(message)
    finally:
        await socket.wait_closed()
        codes.append(socket.close_code)


async def main():
    urls, secured = {}, None
    if files := sys.argv[1:]:
        secured = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        secured.load_cert_chain(*files)
    for name, options in KINDS.items():
        server = await serve(echo, "127.0.0.1", 0, max_size=None, ssl=secured, **options)
        urls[name] = f"{'wss' if secured else 'ws'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    print(json.dumps(urls), flush=True)
    await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
if not codes or set(codes) != {1000}:
    print(f"  closed with {codes}", file=sys.stderr)
    sys.exit(1)
