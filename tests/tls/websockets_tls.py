"""PyPI's `websockets` over TLS.

websockets_tls.py client URL CA [CERTIFICATE KEY]   sends messages to our server and compares the echoes
websockets_tls.py server CERTIFICATE KEY [CA]       an echo server for our client; with CA it requires certificates of clients.
                                                    Prints its port, and at the end of standard input the sessions that were resumed.
"""

import asyncio
import os
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

SIZES = (0, 1, 125, 126, 16_383, 16_384, 65_535, 65_536, 1 << 20)


async def client(url, ca, *pair):
    context = ssl.create_default_context(cafile=ca)
    if pair:
        context.load_cert_chain(*pair)
    for compression in (None, "deflate"):
        async with connect(url, ssl=context, max_size=None, compression=compression) as socket:
            for size in SIZES:
                message = os.urandom(size)
                await socket.send(message)
                assert await socket.recv() == message, size
            messages = [os.urandom(size % 2000) for size in range(0, 200_000, 997)]
            await asyncio.gather(*(socket.send(message) for message in messages))
            assert sorted([await socket.recv() for _ in messages]) == sorted(messages)


async def server(certificate, key, *ca):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if ca:
        context.load_verify_locations(ca[0])
        context.verify_mode = ssl.CERT_REQUIRED
    resumed = 0

    async def echo(socket):
        nonlocal resumed
        resumed += socket.transport.get_extra_info("ssl_object").session_reused
        async for message in socket:
            await socket.send(message)

    async with serve(echo, "127.0.0.1", 0, max_size=None, ssl=context) as listening:
        print(listening.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        print(resumed, flush=True)


asyncio.run({"client": client, "server": server}[sys.argv[1]](*sys.argv[2:]))
