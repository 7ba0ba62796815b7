"""Whether the authd that runs here is ready, asked the way nginx asks: over the listener that is configured."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

_TIMEOUT_SECONDS = 5
_ASK_AGAIN_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Readiness:
    """What `/readyz` said. `version` is empty and `problems` names the cause where nobody answers."""

    is_ready: bool
    version: str
    problems: tuple[str, ...]


def ask_readiness(listen: str, secret: str | None) -> Readiness:
    """Ask once. `listen` as in the configuration, `secret` that of a TCP listener."""
    connection = _connect(listen)
    try:
        connection.request("GET", "/readyz", headers={"X-Authd-Secret": secret} if secret else {})
        response = connection.getresponse()
        answer = json.loads(response.read(65536))
        return Readiness(response.status == 200, str(answer["version"]), tuple(answer["problems"]))
    except (OSError, http.client.HTTPException) as error:
        return Readiness(False, "", (f"nobody answers at {listen}: {error or type(error).__name__}",))
    except (ValueError, KeyError, TypeError):
        return Readiness(False, "", (f"what answers at {listen} is no authd",))
    finally:
        connection.close()


def wait_until_ready(
    ask: Callable[[], Readiness],
    *,
    version: str | None,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Readiness:
    """The first answer that is ready (and of that version, if one is named), or the last one within `seconds`."""
    deadline = clock() + seconds
    while True:
        found = ask()
        if version is not None and found.is_ready and found.version != version:
            found = Readiness(False, found.version, (f"version {found.version} answers, and not {version}",))
        if found.is_ready or clock() >= deadline:
            return found
        sleep(_ASK_AGAIN_SECONDS)


def _connect(listen: str) -> http.client.HTTPConnection:
    kind, _, rest = listen.partition(":")
    if kind != "unix":
        host, _, port = listen.rpartition(":")
        return http.client.HTTPConnection(host.strip("[]"), int(port), timeout=_TIMEOUT_SECONDS)
    connection = _UnixConnection("authd", timeout=_TIMEOUT_SECONDS)
    connection.path = rest
    return connection


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    path: str

    def connect(self) -> None:
        """See `HTTPConnection.connect`."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)
