"""Asks as a script without a token, many times over few connections, and prints how many answers were 401.

    python -m tests.faults.flood PORT HOST COUNT CONNECTIONS

Requests go out in batches, which is what makes it fast enough.
"""

from __future__ import annotations

import asyncio
import ssl
import sys

BATCH = 50
# nginx closes a connection after 1,000.
REQUESTS_PER_CONNECTION = 1000


async def ask(port: int, host: str, numbers: range, context: ssl.SSLContext) -> int:
    starts = range(numbers.start, numbers.stop, REQUESTS_PER_CONNECTION)
    shares = [range(start, min(start + REQUESTS_PER_CONNECTION, numbers.stop)) for start in starts]
    return sum([await ask_over_one(port, host, share, context) for share in shares])


async def ask_over_one(port: int, host: str, numbers: range, context: ssl.SSLContext) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
    refused = 0
    for start in range(numbers.start, numbers.stop, BATCH):
        batch = range(start, min(start + BATCH, numbers.stop))
        writer.write(b"".join(render_request(host, number) for number in batch))
        await writer.drain()
        for _ in batch:
            refused += await read_status(reader) == 401
    writer.close()
    return refused


def render_request(host: str, number: int) -> bytes:
    return f"GET /flood/{number} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\r\n".encode()


async def read_status(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    if "content-length:" in head:
        await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
    else:
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    return int(head.split()[1])


async def main(port: int, host: str, count: int, connections: int) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    share = count // connections
    ranges = [range(n * share, count if n == connections - 1 else (n + 1) * share) for n in range(connections)]
    return sum(await asyncio.gather(*(ask(port, host, numbers, context) for numbers in ranges)))


if __name__ == "__main__":
    print(asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
