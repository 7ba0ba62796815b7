"""An application that tells what reached it. Its counter is how tests prove that nothing did.

`/status/404` answers with that status and `WWW-Authenticate: Application`; `/moved?ADDRESS` redirects there; a request
with `Upgrade` gets a 101 and then its own bytes back; everything else gets 200 and a JSON object of method, target,
headers, body.
"""

from __future__ import annotations

import json
from typing import Any

from tests.harness.raw_http import Message, RawServer, Reply


class EchoApplication(RawServer):
    """On a free loopback port: `port`. `seen` and `count` are the requests that reached it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), echo)


def echo(request: Message) -> Reply:
    path = request.target.partition("?")[0]
    if request.get("Upgrade"):
        return Reply(101, (("Upgrade", "websocket"), ("Connection", "upgrade")))
    if path.startswith("/status/"):
        status = int(path.removeprefix("/status/"))
        return Reply(status, (("WWW-Authenticate", "Application"),), b"the application's own answer")
    if path == "/moved":
        return Reply(302, (("Location", request.target.partition("?")[2]),))
    report = {
        "application": True,
        "method": request.method,
        "target": request.target,
        "headers": request.headers,
        "body": request.body.decode("latin-1"),
    }
    return Reply(200, (("Content-Type", "application/json"),), json.dumps(report).encode())


def parse_echo(answer: Message) -> Message:
    """The request that the application saw, from its answer. Fails where somebody else answered."""
    assert answer.status == 200, (answer.start, answer.body[:200])
    report: dict[str, Any] = json.loads(answer.body)
    assert report["application"] is True
    headers = tuple((name, value) for name, value in report["headers"])
    start = f"{report['method']} {report['target']} HTTP/1.1"
    return Message(start, headers, report["body"].encode("latin-1"))
