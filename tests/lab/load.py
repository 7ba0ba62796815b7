"""A crowd that asks at one edge as fast as it is answered, over connections that stay open.

Each request brings a credential of its own, which is the application's and none of authd's business: nginx has no
decision for it, and asks authd.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.ipranges.namespaces import entered
from tests.lab.estate import CLIENT
from tests.lab.visitors import Visitor

_SECONDS = 30


@dataclass
class Load:
    """`statuses` so far: 200, others, or what went wrong where there was no answer."""

    visitor: Visitor
    edge: str
    url: str
    statuses: Counter[str] = field(default_factory=Counter)
    _is_over: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def failed(self) -> Counter[str]:
        return Counter({status: n for status, n in self.statuses.items() if status != "200"})

    @contextlib.contextmanager
    def going_on(self, *, connections: int = 6) -> Iterator[None]:
        """Until the block ends."""
        threads = [threading.Thread(target=self._keep_asking) for _ in range(connections)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join(_SECONDS * 2)

    def _keep_asking(self) -> None:
        host = urlsplit(self.url).hostname or ""
        cookies = "; ".join(f"{name}={value}" for name, value in self.visitor.browser.cookies[host].items())
        address = self.visitor.network.address(self.edge)
        with entered(self.visitor.network.namespace(CLIENT)):
            connection = _Connection(host, address)
            while not self._is_over.is_set():
                self.statuses[_ask(connection, urlsplit(self.url).path, cookies, next(self._numbers))] += 1
            connection.close()


def _ask(connection: http.client.HTTPSConnection, path: str, cookies: str, number: int) -> str:
    headers = {"Cookie": cookies, "Accept": "application/json", "Authorization": f"Basic {number}"}
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return repr(error)
    return str(response.status)


class _Connection(http.client.HTTPSConnection):
    """To one machine, under another name. As in the tests' browser, the certificate is not looked at."""

    def __init__(self, host: str, address: str) -> None:
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE
        super().__init__(host, 443, timeout=_SECONDS, context=self._tls)
        self._address = address

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), _SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
