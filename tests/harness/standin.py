"""A stand-in for authd that answers what a test tells it to: the one place where authd may be hostile.

The real authd never answers its check with 302 or drops a connection on purpose, and nginx has to stay
closed when something does. Unless told otherwise it is a friendly authd: `CF_AUTHORIZATION=good...` is let
in, `CF_AUTHORIZATION=denied` is refused, and everybody else has to log in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.raw_http import Handler, Message, RawServer, Reply

LOGIN_ADDRESS = "https://auth.example.com/cdn-cgi/access/login/app.example.com?kid=1"
IDENTITY = (
    ("Cf-Access-Jwt-Assertion", "header.payload.signature"),
    ("Cf-Access-Authenticated-User-Email", "ada@example.com"),
    ("X-Authd-User", "ada"),
    ("X-Authd-Groups", "engineers"),
)


def check(request: Message) -> Reply:
    """The friendly check. Never cacheable."""
    session = request.get("X-Authd-Session") or ""
    if session.startswith("good"):
        return Reply(200, (*IDENTITY, ("X-Accel-Expires", "0")))
    if session == "denied":
        return Reply(403)
    return Reply(401)


def challenge(request: Message) -> Reply:
    if request.get("X-Authd-Check") == "403":
        return Reply(403, (("Content-Type", "text/html"),), b"authd's block page")
    headers = (("Location", LOGIN_ADDRESS), ("Set-Cookie", "CF_AppSession=1"), ("Cache-Control", "no-store"))
    return Reply(302, headers, b"authd's login")


def endpoint(request: Message) -> Reply:
    return Reply(200, (("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")), f"authd {request.target}".encode())


@dataclass
class _Programme:
    check: Handler = field(default=check)
    challenge: Handler = field(default=challenge)
    endpoint: Handler = field(default=endpoint)


class StandIn(RawServer):
    """Assign `check`, `challenge` or `endpoint` a function or a Reply; `reset` makes it friendly again."""

    def __init__(self, address: Path | tuple[str, int]) -> None:
        self._programme = _Programme()
        super().__init__(address, self._handle)

    def program(self, **answers: Handler | Reply) -> None:
        for name, answer in answers.items():
            assert hasattr(self._programme, name), name
            setattr(self._programme, name, answer if callable(answer) else _always(answer))

    def reset(self) -> None:
        self._programme = _Programme()
        self.seen.clear()

    @property
    def checks(self) -> list[Message]:
        return [request for request in self.seen if request.target == "/auth"]

    @property
    def challenges(self) -> list[Message]:
        return [request for request in self.seen if request.target == "/challenge"]

    def _handle(self, request: Message) -> Reply:
        if request.target == "/auth":
            return self._programme.check(request)
        if request.target == "/challenge":
            return self._programme.challenge(request)
        return self._programme.endpoint(request)


def _always(reply: Reply) -> Handler:
    return lambda request: reply
