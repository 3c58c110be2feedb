"""PyPI's client `websockets` against our server: python websockets_client.py ws://HOST:PORT"""

import asyncio
import json
import os
import sys
import traceback

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

SERVER = sys.argv[1]
PATIENCE_SECONDS = 20

LARGE = os.urandom((1 << 20) + 1)
PROSE = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. 🥊 " * 50

DEFLATE = [
    {},
    {"server_no_context_takeover": True},
    {"client_no_context_takeover": True},
    {"server_no_context_takeover": True, "client_no_context_takeover": True},
    *({"server_max_window_bits": bits} for bits in range(9, 16)),
    *({"client_max_window_bits": bits} for bits in (True, 9, 12, 15)),
    {"server_no_context_takeover": True, "client_no_context_takeover": True, "server_max_window_bits": 9,
     "client_max_window_bits": 9},
]


def client(path="/echo", **options):
    return connect(SERVER + path, **{"compression": None, "max_size": None} | options)


async def echoes(socket, data):
    await socket.send(data)
    answer = await socket.recv()
    assert answer == data, f"sent {len(data)} bytes, received {len(answer)} other bytes"


async def text_and_binary():
    async with client() as socket:
        for size in (0, 1, 125, 126, 4096, 65535, 65536, 65537):
            await echoes(socket, "x" * size)
            await echoes(socket, os.urandom(size))
        await echoes(socket, PROSE)
        await echoes(socket, LARGE)


async def fragments():
    async with client() as socket:
        await socket.send(["one ", "", "two ", "three"])
        assert await socket.recv() == "one two three"
        await socket.send([LARGE[:1], LARGE[1:70000], LARGE[70000:]])
        assert await socket.recv() == LARGE


async def ping_and_pong():
    async with client() as socket:
        await (await socket.ping(b"are you there"))
        await socket.pong(b"unsolicited")
        await echoes(socket, "only data is echoed")


async def close_codes():
    for code in (1000, 1001, 3000, 4999):
        async with client() as socket:
            await socket.close(code, f"reason {code}")
            assert socket.close_code == code, socket.close_code


async def unknown_path():
    try:
        async with client("/nope"):
            raise AssertionError("accepted")
    except InvalidStatus as error:
        assert error.response.status_code == 404, error


async def topics():
    def open_topics():
        return client("/topics", subprotocols=["no.such.protocol", "hioload.topics.v1"])

    async with open_topics() as listener, open_topics() as speaker:
        assert listener.subprotocol == "hioload.topics.v1", listener.subprotocol
        await listener.send(json.dumps({"sub": "py.>", "id": 1}))
        assert json.loads(await listener.recv()) == {"ok": 1}
        for number in range(100):
            await speaker.send(json.dumps({"pub": f"py.{number}.x", "data": {"number": number, "text": PROSE}}))
        for number in range(100):
            message = json.loads(await listener.recv())
            assert message == {"msg": f"py.{number}.x", "data": {"number": number, "text": PROSE}}, message


def deflate(parameters):
    async def test():
        async with client(compression=None, extensions=[ClientPerMessageDeflateFactory(**parameters)]) as socket:
            agreed = socket.response.headers.get("Sec-WebSocket-Extensions", "")
            assert agreed.startswith("permessage-deflate"), agreed
            for _ in range(3):
                await echoes(socket, PROSE)
            await echoes(socket, "")
            await echoes(socket, LARGE)
            await echoes(socket, "a" * (1 << 20))
            await socket.send([PROSE, PROSE])
            assert await socket.recv() == PROSE + PROSE

    return test


TESTS = {
    "text and binary of all sizes": text_and_binary,
    "fragments": fragments,
    "ping and pong": ping_and_pong,
    "close codes": close_codes,
    "an unknown path is refused with 404": unknown_path,
    "topics": topics,
} | {f"permessage-deflate: {parameters}": deflate(parameters) for parameters in DEFLATE}


async def main():
    failed = 0
    for name, test in TESTS.items():
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await test()
            print(f"  ok    {name}", flush=True)
        except Exception:
            failed += 1
            print(f"  FAIL  {name}: {traceback.format_exc()}", flush=True)
    return 1 if failed else 0


sys.exit(asyncio.run(main()))
