"""The same bytes get the same answer by gunicorn's way and by the short one, however odd they are (ADR 0123).

Only nginx is to reach the socket. Whoever else does must find no bytes that one of the two ways reads as another check.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gunicorn.asgi.protocol import HIGH_WATER_LIMIT, ASGIProtocol

from authd.model import Session
from authd.serve_protocol import ShortWayProtocol
from tests.authd.house import House
from tests.authd.test_serve_protocol import FIRST, SECOND, Gate, Server, render

# What gunicorn adds of its own.
_OF_GUNICORN = (b"date:", b"server:", b"connection:")
Answers = list[tuple[bytes, ...]]


class Way:
    """One server with one of the two protocols. `made` are its connections."""

    def __init__(self, house: House, protocol: type[ASGIProtocol]) -> None:
        self.server = Server(house)
        self.made: list[ASGIProtocol] = []
        self._protocol = protocol
        self._path = ""

    def make(self) -> ASGIProtocol:
        self.made.append(self._protocol(self.server.worker))
        return self.made[-1]

    async def listen(self, path: Path) -> asyncio.Server:
        self._path = str(path)
        return await asyncio.get_running_loop().create_unix_server(self.make, self._path)

    async def ask(self, *chunks: bytes, ends: bool = False, quiet_seconds: float = 0.5) -> Answers:
        """All that is answered to these on a connection of their own; b"closed" stands last if the server ended it."""
        reader, writer = await asyncio.open_unix_connection(self._path)
        with contextlib.suppress(ConnectionError):
            for chunk in chunks:
                writer.write(chunk)
                await asyncio.sleep(0.005)
            if ends:
                writer.write_eof()
        said = b""
        is_closed = False
        with contextlib.suppress(TimeoutError, ConnectionError):
            while data := await asyncio.wait_for(reader.read(65536), quiet_seconds):
                said += data
            is_closed = True
        writer.close()
        answers = parse_answers(said)
        if not is_closed:
            return answers
        # gunicorn ends the connection without a word where we refuse first.
        refused = bool(answers) and answers[-1][0] in (b"400", b"403")
        return [*(answers[:-1] if refused else answers), (b"closed",)]

    async def end(self) -> None:
        for protocol in self.made:
            with contextlib.suppress(asyncio.CancelledError):
                protocol._task.cancel()
                await protocol._task


async def is_same(one: Way, other: Way, *chunks: bytes, ends: bool = False) -> bool:
    """Whether both say the same, at the latest when they are given time for it."""
    for quiet_seconds in (0.06, 0.5, 2):
        if await one.ask(*chunks, ends=ends, quiet_seconds=quiet_seconds) == await other.ask(
            *chunks, ends=ends, quiet_seconds=quiet_seconds
        ):
            return True
    return False


def parse_answers(said: bytes) -> Answers:
    """Status and headers of each answer, but for what gunicorn adds."""
    answers = []
    while said:
        head, _, said = said.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        told = sorted(line.lower() for line in lines)
        length = next((int(line[15:]) for line in told if line.startswith(b"content-length:")), 0)
        said = said[length:]
        answers.append((status.split(b" ")[1], *(line for line in told if not line.startswith(_OF_GUNICORN))))
    return answers


@pytest.fixture
async def ways(house: House, tmp_path: Path) -> AsyncIterator[tuple[Way, Way]]:
    both = Way(house, ASGIProtocol), Way(house, ShortWayProtocol)
    listening = [await way.listen(tmp_path / f"{number}.sock") for number, way in enumerate(both)]
    yield both
    for server in listening:
        server.close()
    for way in both:
        await way.end()


@pytest.fixture
async def alice(house: House) -> tuple[Session, str]:
    return await house.open_session()


def odd_checks(token: str) -> dict[str, bytes]:
    """Each looks like one whole check to whoever only looks at the ends of it."""
    good, bad = render(token), render("x")
    tail = b"\r\nX-Request-Id: " + SECOND + b"\r\n\r\n"

    def more(line: bytes) -> bytes:
        return good.replace(b"\r\nX-Request-Id", b"\r\n" + line + b"\r\nX-Request-Id")

    def changed(old: bytes, new: bytes, of: bytes = good) -> bytes:
        assert old in of
        return of.replace(old, new)

    return {
        "as nginx sends it": good,
        "of nobody": bad,
        "a second head after bare LF": b"GET /auth HTTP/1.1\r\nX: y\n\n" + good,
        "nobody's, a bare LF and somebody's": changed(b"\r\n\r\n", b"\n\n", bad) + good,
        "somebody's, a bare LF and nobody's": changed(b"\r\n\r\n", b"\n\n") + bad,
        "CR LF LF": changed(b"\r\n\r\n", b"\r\n\n") + bad,
        "LF CR LF": changed(b"\r\n\r\n", b"\n\r\n") + bad,
        "bare LF between headers": changed(b"\r\nX-Real-Ip", b"\nX-Real-Ip"),
        "bare LF in a value": changed(b"/x\r\nX-Real-Ip", b"/x\nX-Authd-App: wiki\r\nX-Real-Ip"),
        "bare CR in a value": changed(b"/x\r\nX-Real-Ip", b"/x\rX-Authd-App: wiki\r\nX-Real-Ip"),
        "bare CR between headers": changed(b"\r\nX-Real-Ip", b"\rX-Real-Ip"),
        "a line that is folded": changed(b"X-Real-Ip: 192", b"X-Real-Ip:\r\n 192"),
        "a line that is folded by a tab": more(b"X-Folded: a\r\n\tb"),
        "the first line is folded": changed(b"HTTP/1.1\r\nHost", b"HTTP/1.1\r\n Host"),
        "NUL in a value": changed(b"192.0.2.1", b"192.0.2.1\x00"),
        "NUL in a name": more(b"X-\x00: y"),
        "control character in a value": more(b"X-Bell: \x07"),
        "a byte beyond ASCII in a value": more(b"X-More: \xff\xfe"),
        "a byte beyond ASCII in a name": more(b"X-\xff: y"),
        "space before the colon": changed(b"X-Real-Ip:", b"X-Real-Ip :"),
        "space before a name": more(b" X-More: y"),
        "no name": more(b": y"),
        "no colon": more(b"nonsense"),
        "no value": more(b"X-More:"),
        "no space after the colon": changed(b"X-Real-Ip: ", b"X-Real-Ip:"),
        "tabs around a value": changed(b"X-Real-Ip: 192.0.2.1", b"X-Real-Ip: \t192.0.2.1\t "),
        "vertical tab after a value": changed(b"192.0.2.1\r", b"192.0.2.1\x0b\r"),
        "other case of a name": changed(b"X-Real-Ip", b"x-rEAL-iP"),
        "underscores in a name": changed(b"X-Real-Ip", b"X_Real_Ip"),
        "underscores in a second name": more(b"X_Real_Ip: 192.0.2.9"),
        "a header twice": more(b"X-Real-Ip: 192.0.2.9"),
        "a header twice in other case": more(b"x-authd-APP: wiki"),
        "Host twice": more(b"Host: authd"),
        "no Host": changed(b"Host: authd\r\n", b""),
        "Cookie twice": more(b"Cookie: CF_AUTHORIZATION=x"),
        "Authorization twice": more(b"Authorization: a\r\nAuthorization: b"),
        "an id twice": more(b"X-Request-Id: " + FIRST),
        "no header but the id": b"GET /auth HTTP/1.1" + tail,
        "another secret": more(b"X-Authd-Secret: guessed"),
        "Connection: close": more(b"Connection: close"),
        "cOnNeCtIoN: close": more(b"cOnNeCtIoN: close"),
        "Connection: upgrade": more(b"Connection: upgrade\r\nUpgrade: websocket"),
        "Upgrade: h2c": more(
            b"Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"
        ),
        "Upgrade alone": more(b"Upgrade: websocket"),
        "Keep-Alive": more(b"Keep-Alive: timeout=1"),
        "Proxy-Connection": more(b"Proxy-Connection: close"),
        "TE and trailers": more(b"TE: trailers\r\nTrailer: X-Real-Ip"),
        "Expect": more(b"Expect: 100-continue"),
        "Expect the unknown": more(b"Expect: 200-ok"),
        "a length of 0": more(b"Content-Length: 0"),
        "a length that is none": more(b"Content-Length: +1"),
        "a length of less than 0": more(b"Content-Length: -1"),
        "two lengths": more(b"Content-Length: 0\r\nContent-Length: 5"),
        "length with a space": more(b"Content-Length : 5"),
        "length with an underscore": more(b"Content_Length: 5"),
        "chunked": more(b"Transfer-Encoding: chunked"),
        "chunked and a length": more(b"Transfer-Encoding: chunked\r\nContent-Length: 5"),
        "chunked with a space": more(b"Transfer-Encoding : chunked"),
        "xchunked": more(b"Transfer-Encoding: xchunked"),
        "a body that is a check": more(b"Content-Length: %d" % len(bad)) + bad,
        "a head of too many headers": more(b"\r\n".join(b"X-%d: y" % number for number in range(200))),
        "a header that is too large": more(b"X-More: " + b"y" * 40_000),
        "two at once": good + bad,
        "two at once, the other first": bad + good,
        "a NUL before": b"\x00" + good,
        "an empty line before": b"\r\n" + good,
        "HTTP/1.0": changed(b"HTTP/1.1", b"HTTP/1.0"),
        "HTTP/2.0": changed(b"HTTP/1.1", b"HTTP/2.0"),
        "another path first": b"GET /auth HTTP/1.1\nGET /other HTTP/1.1\r\n" + good.partition(b"\r\n")[2],
        "an absolute path": changed(b"GET /auth", b"GET http://authd/auth"),
        "POST": changed(b"GET /auth", b"POST /auth"),
        "a query": changed(b"/auth HTTP", b"/auth?x=y HTTP"),
        "HTTP/2 by its preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + good,
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + good,
        "PROXY": b"PROXY TCP4 192.0.2.9 192.0.2.9 1 2\r\n" + good,
    }


async def test_odd_bytes_get_the_same_answer_both_ways(ways: tuple[Way, Way], alice: tuple[Session, str]) -> None:
    gunicorn, short = ways
    assert (await short.ask(render(alice[1])))[0][0] == b"200"
    differ = {}
    for name, odd in odd_checks(alice[1]).items():
        for chunks in ((odd,), (odd, render("x")), (odd, render(alice[1], SECOND))):
            if not await is_same(gunicorn, short, *chunks):
                differ[name] = chunks
    assert differ == {}


@pytest.mark.parametrize("ends", [False, True])
async def test_odd_bytes_in_pieces_get_the_same_answer_both_ways(
    ways: tuple[Way, Way], alice: tuple[Session, str], ends: bool
) -> None:
    gunicorn, short = ways
    good, bad = render(alice[1]), render("x")
    for pieces in (
        (good[:30], good[30:]),
        (good, bad, good),
        (bad[:-4], bad[-4:] + good),
        (good + bad[:60], bad[60:]),
        (good[:-1], good[-1:] + bad),
        (good[:20], bad),
        (good, b"\r\n", bad),
        (good, b"\n"),
        (good, b"GET /"),
        (b"G",),
        (b"",),
    ):
        if ends and pieces[-1] in (good, bad):
            continue  # who ends the connection with the question races with its answer
        assert await is_same(gunicorn, short, *pieces, ends=ends), pieces


async def test_random_changes_get_the_same_answer_both_ways(ways: tuple[Way, Way], alice: tuple[Session, str]) -> None:
    """One or two bytes of a good check are replaced, taken out or put in."""
    gunicorn, short = ways
    chance, good = random.Random(123), render(alice[1])
    for _ in range(60):
        changed = bytearray(good)
        for _ in range(chance.choice([1, 1, 2])):
            at, byte = chance.randrange(len(good) - 4), chance.choice(b"\r\n\t :\x00\x7f\xffaG0,;=")
            changed[at : at + chance.choice([0, 1, 2])] = bytes([byte]) * chance.choice([0, 1])
        data = bytes(changed)
        assert await is_same(gunicorn, short, data), data


async def test_answers_that_nobody_reads_do_not_pile_up(ways: tuple[Way, Way], alice: tuple[Session, str]) -> None:
    """nginx waits for each; whoever does not is not answered in memory for ever."""
    short = ways[1]
    reader, writer = await asyncio.open_unix_connection(short._path, limit=1024)
    writer.transport.pause_reading()
    for _ in range(1000):
        writer.write(render(alice[1]))
        await asyncio.sleep(0.001)
    transport = short.made[0].transport
    assert transport.get_write_buffer_size() < 2 * HIGH_WATER_LIMIT
    assert writer.transport.get_write_buffer_size() > 0
    writer.transport.abort()
    assert reader is not None


async def test_what_came_early_of_somebody_who_has_gone_is_not_read(
    ways: tuple[Way, Way], alice: tuple[Session, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ways[1]
    gate = Gate(short.server, monkeypatch)
    failed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failed.append(context))
    _, writer = await asyncio.open_unix_connection(short._path)
    writer.write(render("x"))
    await gate.is_reached.wait()
    writer.write(render(alice[1]))
    await asyncio.sleep(0.05)
    short.made[0].transport.abort()
    writer.close()
    await asyncio.sleep(0.05)
    gate.opened.set()
    await asyncio.sleep(0.05)
    assert (short.server.parsed, short.server.worker.nr_conns, failed) == (1, 0, [])
