"""Connections to one server of Redis. Nothing is tried twice here, and nothing waits longer than its caller.

redis-py's own pool and its ten retries are not used: by default one call would take 4.5 seconds of a worker's time
while nobody answers (reference/attacks.md 0.2).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from authd.config.redis_url import RedisUrl
from authd.state.base import DEADLINE_SECONDS

MAX_CONNECTIONS = 16
Command = Sequence[str | bytes | int]


class RedisServer:
    """One address, with at most MAX_CONNECTIONS connections, which are made when they are needed."""

    def __init__(
        self, url: RedisUrl, address: tuple[str, int], tls: ssl.SSLContext | None, *, is_sentinel: bool = False
    ) -> None:
        self._tls = tls
        self.address = address
        self._url = url
        self._is_sentinel = is_sentinel
        self._idle: list[Connection] = []
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._is_closed = False

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Send them together over one connection and return a reply each; a refusal is a ResponseError in the list.

        Raises RedisError or OSError if there is no whole answer; then some of them may have been carried out.
        """
        async with self._slots:
            connection = await self._take_connection()
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_packed_command(connection.pack_commands(commands))
                replies = [await _read_reply(connection) for _ in commands]
            except BaseException:
                # Also when our caller was cancelled: a connection that was not read to its end would give its next
                # user somebody else's session (CVE-2023-28858).
                await connection.disconnect(nowait=True)
                raise
            if self._is_closed:
                await connection.disconnect(nowait=True)
            else:
                self._idle.append(connection)
        return replies

    async def close(self) -> None:
        """Close what is idle now, and what is busy as soon as it is done."""
        self._is_closed = True
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)

    async def _take_connection(self) -> Connection:
        """One that is open and silent, or a new one. A server may have closed what was idle for long."""
        while self._idle:
            connection = self._idle.pop()
            try:
                if not await connection.can_read():
                    return connection
            except (RedisError, OSError):
                pass
            await connection.disconnect(nowait=True)
        return self._make_connection()

    def _make_connection(self) -> Connection:
        host, port = self.address
        options: dict[str, Any] = {
            "host": host,
            "port": port,
            "socket_timeout": DEADLINE_SECONDS,
            "socket_connect_timeout": DEADLINE_SECONDS,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "driver_info": None,
            **self._credentials(),
        }
        if self._tls is None:
            return Connection(**options)
        connection = SSLConnection(**options)
        # The library would read the system's authorities anew for each connection, and trust them beside ours.
        connection.ssl_context.context = self._tls
        return connection

    def _credentials(self) -> dict[str, Any]:
        """Read anew for each connection, so that a password can be changed without a restart."""
        files = self._url.files
        if self._is_sentinel:
            return {
                "username": self._url.sentinel_username,
                "password": _find_password(files.get("sentinel_password_file")),
            }
        password = _find_password(files.get("password_file")) or self._url.password
        return {"username": self._url.username, "password": password, "db": self._url.database}


def load_tls(url: RedisUrl) -> ssl.SSLContext | None:
    """How to verify the servers; None without TLS. Raises OSError (ssl.SSLError too) if a file cannot be used."""
    if not url.is_tls:
        return None
    ca_file, cert_file, key_file = (url.files.get(name) for name in ("ca_file", "cert_file", "key_file"))
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_file and key_file:
        context.load_cert_chain(cert_file, key_file)
    return context


async def _read_reply(connection: Connection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _find_password(path: Path | None) -> str | None:
    """Raises OSError if the file cannot be read."""
    return path.read_text("utf-8", errors="surrogateescape").rstrip("\r\n") if path else None
