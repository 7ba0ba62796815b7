"""The check, and the challenge behind falcon, over the parts of a `House`, asked as nginx asks.

Spoken to in ASGI itself: falcon's test client joins headers that are there twice, and adds some of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import falcon.asgi

from authd.audit import DecisionLog
from authd.errors import StoreError
from authd.metrics import Metrics
from authd.middleware import ErrorHandlers, RefuseByDefault
from authd.resources.answers import Answers
from authd.resources.challenge import Challenge
from authd.resources.check import CHECK_PATH, Check
from authd.resources.pages import Pages
from tests.authd.house import House

GOOD: dict[str, str] = {
    "X-Original-Method": "GET",
    "X-Original-Url": "https://grafana.example.com/x?y=1",
    "X-Original-Path": "/x",
    "X-Real-Ip": "192.0.2.1",
    "X-Request-Id": "0123456789abcdef",
    "X-Authd-App": "grafana",
    "X-Authd-Scope": "grafana.example.com",
}


@dataclass(frozen=True)
class Reply:
    """What authd answered. `headers` in lower case, without cookies; `cookies` are whole Set-Cookie values."""

    status_code: int
    headers: dict[str, str]
    cookies: tuple[str, ...]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class CheckApp:
    """`lines` is what was logged about decisions, `store_errors` what was reported of the store."""

    def __init__(self, house: House, listener_secret: str | None = None) -> None:
        self.lines: list[dict[str, Any]] = []
        pages = Pages("/cdn-cgi/access")
        answers = Answers(pages, path_prefix="/cdn-cgi/access", origin_of=house.index.public_origin)
        self._app: falcon.asgi.App[Any, Any] = falcon.asgi.App(middleware=[RefuseByDefault()])
        self.store_errors: list[str] = []
        ErrorHandlers(answers, on_outage=self._note_store_error).add_to(self._app)
        log = DecisionLog(clock=house.clock, log=lambda event, **fields: self.lines.append(fields))
        self._check = Check(
            house.access,
            log,
            Metrics(),
            on_outage=self._note_store_error,
            listener_secret=listener_secret,
        )
        self._app.add_sink(Challenge(house.access, house.login, answers), r"/challenge\Z")

    def _note_store_error(self, error: StoreError, path: str) -> None:
        self.store_errors.append(f"{path} {error.code}")

    async def ask(
        self, path: str = "/auth", *more: tuple[str, str], without: str = "", method: str = "GET", **changes: str
    ) -> Reply:
        """Good headers, with changes (`x_real_ip="..."`), more of them, or without one."""
        renamed = {name.replace("_", "-").title(): value for name, value in changes.items()}
        kept = [(name, value) for name, value in (GOOD | renamed).items() if name != without]
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in [*kept, *more]]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "query_string": b"",
            "headers": headers,
        }
        events: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(event: dict[str, Any]) -> None:
            events.append(event)

        app: Any = self._check if path == CHECK_PATH else self._app
        await app(scope, receive, send)
        found = [(name.decode(), value.decode("latin-1")) for name, value in events[0]["headers"]]
        return Reply(
            status_code=events[0]["status"],
            headers={name: value for name, value in found if name != "set-cookie"},
            cookies=tuple(value for name, value in found if name == "set-cookie"),
            content=b"".join(event.get("body", b"") for event in events[1:]),
        )
