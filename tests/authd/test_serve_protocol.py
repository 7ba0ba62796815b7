"""The short way of the server: the same bytes get the same answer, as long as it holds, and nothing else does.

gunicorn's own protocol and parser on a real socket; only the process around them is the test's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from authd.audit import DecisionLog
from authd.metrics import Metrics
from authd.model import Session
from authd.resources.check import Check
from authd.serve_protocol import ShortWayProtocol, find_repeat_key
from tests.authd.house import CONFIG, NOW, House

FIRST, SECOND = b"a" * 32, b"b" * 32


class Server:
    """A check behind the protocol. `parsed` counts what was asked anew, `by_gunicorn` what gunicorn answered."""

    def __init__(self, house: House) -> None:
        self.parsed = self.by_gunicorn = 0
        self.lines: list[dict[str, Any]] = []
        log = DecisionLog(clock=house.clock, log=lambda event, **fields: self.lines.append(fields))
        self.metrics = Metrics()
        self.check = Check(house.access, log, self.metrics, on_outage=lambda error, path: None)
        self.note_unreadable = self.check.note_unreadable
        config = Config()
        config.set("keepalive", 3600)
        config.set("limit_request_field_size", 32_768)
        self.worker = SimpleNamespace(
            cfg=config, log=Logger(config), asgi=self, loop=asyncio.get_running_loop(), checks=self, alive=True
        )
        vars(self.worker).update(nr_conns=0, nr=0, max_requests=10**9)
        logging.getLogger("gunicorn.error").handlers.clear()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.by_gunicorn += 1
        await self.check(scope, receive, send)

    async def answer(self, repeat_key: bytes, raw: Any) -> bytes:
        self.parsed += 1
        return await self.check.answer(repeat_key, raw)

    def answer_again(self, repeat_key: bytes, request_id: bytes) -> bytes | None:
        return self.check.answer_again(repeat_key, request_id)


class Connection:
    """nginx' end. `protocol` is the server's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, *chunks: bytes) -> tuple[int, dict[str, str]]:
        """Send these, one read of the server each, and read one answer."""
        for chunk in chunks:
            self._writer.write(chunk)
            await self._writer.drain()
            await asyncio.sleep(0.01 if len(chunks) > 1 else 0)
        return await self.read()

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def read(self) -> tuple[int, dict[str, str]]:
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 20)
        status, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        await self._reader.readexactly(int(headers.get("content-length", "0")))
        return int(status.split()[1]), headers

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
async def server(house: House) -> Server:
    return Server(house)


@pytest.fixture
async def nginx(server: Server, tmp_path: Path) -> AsyncIterator[Connection]:
    made: list[ShortWayProtocol] = []

    def make() -> ShortWayProtocol:
        made.append(ShortWayProtocol(server.worker))
        return made[-1]

    path = str(tmp_path / "authd.sock")
    listening = await asyncio.get_running_loop().create_unix_server(make, path)
    connection = Connection(*await asyncio.open_unix_connection(path))
    yield connection
    connection.close()
    listening.close()
    for protocol in made:
        with contextlib.suppress(asyncio.CancelledError):
            protocol._task.cancel()
            await protocol._task


def render(token: str, request_id: bytes = FIRST, *more: str, **changes: str) -> bytes:
    """The bytes of a check as nginx sends them: its request id last."""
    lines = {
        "Host": "authd",
        "X-Original-Method": "GET",
        "X-Original-Url": "https://grafana.example.com/x?y=1",
        "X-Original-Path": "/x",
        "X-Real-Ip": "192.0.2.1",
        "Cookie": f"CF_AUTHORIZATION={token}",
        "X-Authd-App": "grafana",
        "X-Authd-Scope": "grafana.example.com",
        "X-Authd-Session": token,
    } | {name.replace("_", "-").title(): value for name, value in changes.items()}
    head = [f"{name}: {value}" for name, value in lines.items()] + list(more)
    return "\r\n".join(["GET /auth HTTP/1.1", *head, ""]).encode() + b"X-Request-Id: " + request_id + b"\r\n\r\n"


@pytest.fixture
async def alice(house: House) -> tuple[Session, str]:
    return await house.open_session()


async def test_what_is_read_is_read_by_gunicorns_parser_in_c(server: Server) -> None:
    """gunicorn falls back in silence, and did for a class that is derived from its own."""
    protocol = ShortWayProtocol(server.worker)
    protocol._setup_callback_parser()

    assert type(protocol._callback_parser).__name__ == "H1CProtocol"


async def test_the_same_question_is_answered_again_without_being_read(
    server: Server, nginx: Connection, alice: tuple[Session, str]
) -> None:
    answers = [await nginx.ask(render(alice[1], request_id)) for request_id in (FIRST, SECOND, FIRST)]

    assert [status for status, _ in answers] == [200, 200, 200]
    assert server.parsed == 1
    assert answers[1] == answers[2]
    ours = [
        {name: value for name, value in headers.items() if name not in ("date", "server")} for _, headers in answers
    ]
    assert ours[0] == ours[1]
    assert ours[1]["cf-access-jwt-assertion"] == alice[1]
    assert ours[1]["x-accel-expires"] == f"@{NOW}"


async def test_each_minute_is_logged_with_the_id_of_its_request(
    house: House, server: Server, nginx: Connection, alice: tuple[Session, str]
) -> None:
    await nginx.ask(render(alice[1], FIRST))
    house.clock.now += 61
    await nginx.ask(render(alice[1], SECOND))

    assert [line["request_id"] for line in server.lines] == [FIRST.decode(), SECOND.decode()]
    assert server.parsed == 1


async def test_what_was_said_ends_with_session_policy_and_token(
    house: House, server: Server, nginx: Connection, alice: tuple[Session, str]
) -> None:
    session, token = alice

    async def ask() -> int:
        return (await nginx.ask(render(token)))[0]

    assert [await ask(), await ask()] == [200, 200]
    house.load(CONFIG.replace("email_domain: example.com", "email_domain: example.net"))
    assert await ask() == 403
    house.load(CONFIG)
    assert [await ask(), await ask()] == [200, 200]
    house.clock.now = NOW + 3600
    assert await ask() == 401
    house.clock.now = NOW
    assert [await ask(), await ask()] == [200, 200]
    await house.sessions.end(session)
    assert [await ask(), await ask()] == [401, 401]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"x_real_ip": "192.0.2.2"}, 200),
        ({"x_original_method": "POST"}, 200),
        ({"x_original_path": "/other"}, 403),
        ({"x_original_url": "https://wiki.example.com/x"}, 403),
        ({"x_authd_app": "wiki"}, 403),
        ({"cookie": "CF_AUTHORIZATION=x", "x_authd_session": "x"}, 401),
        ({"cookie": "", "x_authd_session": ""}, 401),
    ],
)
async def test_another_question_is_read(
    server: Server, nginx: Connection, alice: tuple[Session, str], changes: dict[str, str], status: int
) -> None:
    assert (await nginx.ask(render(alice[1])))[0] == 200

    assert (await nginx.ask(render(alice[1], **changes)))[0] == status
    assert server.parsed == 2
    assert (await nginx.ask(render(alice[1])))[0] == 200
    assert server.parsed == 2


async def test_refusals_are_never_remembered(server: Server, nginx: Connection) -> None:
    assert [(await nginx.ask(render("x")))[0] for _ in range(3)] == [401, 401, 401]
    assert server.parsed == 3


async def test_a_question_that_cannot_be_read_is_refused_and_counted(server: Server, nginx: Connection) -> None:
    """A visitor's control characters, which nginx passes on. No line of log is theirs to write."""
    status, headers = await nginx.ask(render("x", FIRST, "X-Bell: \x07"))
    assert (status, headers["x-accel-expires"]) == (403, "0")
    counted = [line for line in server.metrics.render().decode().splitlines() if "malformed_request" in line]
    assert [line.rpartition(" ")[2] for line in counted if "_total" in line] == ["1.0"]
    assert (server.lines, server.parsed) == ([], 0)


async def test_bytes_within_another_request_are_no_question(
    server: Server, nginx: Connection, alice: tuple[Session, str]
) -> None:
    """What was let in before arrives as the rest of a request that began otherwise: it is a part of that one."""
    question = render(alice[1])
    assert (await nginx.ask(question))[0] == 200

    begun = b"GET /auth HTTP/1.1\r\nX-Original-Method: GET\r\nX-Real-Ip: 192.0.2.66\r\nX-Rest: "
    assert (await nginx.ask(begun, question))[0] == 403
    assert (server.parsed, server.by_gunicorn) == (1, 1)


@pytest.mark.parametrize("at", [1, 3, 20, 21, 40, -70, -51, -36, -4, -3, -1])
async def test_a_question_in_two_pieces_is_answered_as_in_one(
    server: Server, nginx: Connection, alice: tuple[Session, str], at: int
) -> None:
    question = render(alice[1])
    assert (await nginx.ask(question))[0] == 200

    assert (await nginx.ask(question[:at], question[at:]))[0] == 200
    assert (await nginx.ask(render("x")))[0] == 401
    assert (await nginx.ask(question))[0] == 200


async def test_two_questions_at_once_teach_nothing(
    server: Server, nginx: Connection, alice: tuple[Session, str]
) -> None:
    both = render(alice[1]) + render("x")
    assert (await nginx.ask(both))[0] == 200
    assert find_repeat_key(both) is None
    assert server.check._remembered.keys() == {key for key in server.check._remembered if not isinstance(key, bytes)}


@pytest.mark.parametrize(
    "question",
    [
        b"",
        b"GET /auth HTTP/1.1\r\n\r\n",
        render("x").replace(b"GET /auth HTTP", b"GET /authx HTTP"),
        render("x").replace(b"GET /auth HTTP", b"POST /auth HTTP"),
        render("x").replace(b"GET /auth", b"GET  /auth"),
        render("x").replace(b"HTTP/1.1", b"HTTP/1.0"),
        render("x", b"A" * 32),
        render("x", b"a" * 31),
        render("x", b"a" * 33),
        render("x", b"a" * 20 + b"\r\nX-Real-Ip"),
        render("x") + b" ",
        render("x")[:-1],
        render("x").replace(b"Request-Id", b"Request-Ix"),
    ],
)
def test_only_a_whole_check_with_its_id_at_the_end_can_be_a_repetition(question: bytes) -> None:
    assert find_repeat_key(question) is None


def test_what_counts_is_everything_but_the_id() -> None:
    assert find_repeat_key(render("x", FIRST)) == find_repeat_key(render("x", SECOND)) is not None
    assert find_repeat_key(render("x")) != find_repeat_key(render("y"))


async def test_with_a_body_or_an_end_of_the_connection_nothing_is_remembered(
    server: Server, nginx: Connection, alice: tuple[Session, str]
) -> None:
    for more in ("Content-Length: 0", "Expect: 100-continue", "Connection: keep-alive"):
        assert (await nginx.ask(render(alice[1], FIRST, more)))[0] == 200
        assert (await nginx.ask(render(alice[1], FIRST, more)))[0] == 200
    assert (server.parsed, server.by_gunicorn) == (0, 6)


async def test_a_worker_that_stops_answers_by_gunicorns_way(
    server: Server, nginx: Connection, alice: tuple[Session, str]
) -> None:
    assert (await nginx.ask(render(alice[1])))[0] == 200
    server.worker.alive = False
    assert (await nginx.ask(render(alice[1])))[0] == 200
    assert (server.parsed, server.by_gunicorn) == (1, 1)


class Gate:
    """A check that waits until somebody opens, or fails then."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch, error: BaseException | None = None) -> None:
        self.is_reached, self.opened = asyncio.Event(), asyncio.Event()
        self._answer, self._error = server.answer, error
        monkeypatch.setattr(server, "answer", self.answer)

    async def answer(self, repeat_key: bytes, raw: Any) -> bytes:
        self.is_reached.set()
        await self.opened.wait()
        if self._error:
            raise self._error
        return await self._answer(repeat_key, raw)


async def test_what_comes_before_the_answer_is_read_after_it(
    server: Server, nginx: Connection, alice: tuple[Session, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(server, monkeypatch)
    first = asyncio.create_task(nginx.ask(render(alice[1])))
    await gate.is_reached.wait()
    nginx.send(render("x"))
    await asyncio.sleep(0.05)
    nginx.send(render(alice[1], SECOND, "Connection: close"))
    await asyncio.sleep(0.05)
    gate.opened.set()

    assert [(await first)[0], (await nginx.read())[0], (await nginx.read())[0]] == [200, 401, 200]


@pytest.mark.parametrize("error", [RuntimeError("broken"), asyncio.CancelledError()])
async def test_a_check_that_fails_ends_the_connection(
    server: Server, nginx: Connection, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """nginx takes that for a check that failed, and refuses."""
    Gate(server, monkeypatch, error).opened.set()
    with pytest.raises(asyncio.IncompleteReadError):
        await nginx.ask(render("x"))


async def test_nobody_is_answered_who_has_gone(
    server: Server, nginx: Connection, alice: tuple[Session, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(server, monkeypatch)
    nginx.send(render(alice[1]))
    await gate.is_reached.wait()
    nginx.close()
    await asyncio.sleep(0.05)
    gate.opened.set()
    await asyncio.sleep(0.05)
    assert (server.worker.nr_conns, server.parsed) == (0, 1)


async def test_a_worker_that_stops_meanwhile_answers_and_ends_the_connection(
    server: Server, nginx: Connection, alice: tuple[Session, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(server, monkeypatch)
    first = asyncio.create_task(nginx.ask(render(alice[1])))
    await gate.is_reached.wait()
    server.worker.alive = False
    gate.opened.set()
    assert (await first)[0] == 200
    with pytest.raises(asyncio.IncompleteReadError):
        await nginx.read()


async def test_a_connection_in_use_is_not_closed_for_idling(
    house: House, alice: tuple[Session, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """gunicorn does not see the questions that were answered again; so far it never ends a connection for idling."""
    written: list[bytes] = []
    closed: list[bool] = []
    protocol = ShortWayProtocol(Server(house).worker)
    monkeypatch.setattr(protocol, "_close_transport", lambda: closed.append(True))
    monkeypatch.setattr(protocol._checks, "answer_again", lambda key, request_id: b"yes")
    protocol.transport = SimpleNamespace(write=written.append)
    protocol.data_received(render(alice[1]))
    assert written == [b"yes"]

    protocol._keepalive_timeout()
    assert not closed
    assert protocol._keepalive_handle is not None
    protocol._keepalive_timeout()
    assert closed
    protocol._cancel_keepalive_timer()
