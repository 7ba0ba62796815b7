"""nginx around a gate: one port for each way to it, one for the login, and whether the gate is one."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.load import PATH
from bench.peers.gate import Gate, Place, Way
from tests.harness.browser import Browser
from tests.harness.certificates import write_certificate
from tests.harness.nginx import find_free_port, running_nginx

# Nobody else's page has it.
PAGE = b"the application itself"

_KEPT_ALIVE = 'proxy_http_version 1.1; proxy_set_header Connection "";'
# authd's own cache, for gates that do not say themselves how long an answer holds: a second, and of good ones only.
_CACHED = """
        proxy_cache gate;
        proxy_cache_key "$host\\n$request_method\\n$remote_addr\\n$http_cookie\\n$http_authorization";
        proxy_cache_valid 200 202 204 1s;
        proxy_ignore_headers Set-Cookie Cache-Control Expires Vary X-Accel-Expires;
        proxy_cache_use_stale off; proxy_cache_lock off; proxy_cache_min_uses 1;
        proxy_buffer_size 32k; proxy_buffers 4 32k; proxy_busy_buffers_size 32k;
        open_file_cache max=10000 inactive=10s; open_file_cache_valid 60s; open_file_cache_min_uses 1;
"""


@dataclass(frozen=True, slots=True)
class Site:
    """A gate behind nginx. `cookie` is a session's. `ports` are those of the ways to the gate: `documented` opens a
    connection for each check where the documentation does; `kept` and `cached` keep connections open, as authd's files
    do, and are not there where the gate is nginx itself."""

    host: str
    ports: Mapping[str, int]
    cookie: str


@contextlib.contextmanager
def running_site(gate: Gate, place: Place) -> Iterator[Site]:
    """Start nginx, log in, and see that the gate lets in whom it must, and nobody else. Raises RuntimeError."""
    tls = find_free_port()
    kinds = ("documented",) if gate.in_nginx else ("documented", "kept", "cached")
    ports = {kind: find_free_port() for kind in kinds}
    with running_nginx(
        place.directory,
        _render_http(gate, place, tls, ports),
        port=tls,
        modules=gate.modules,
        library_directory=gate.library_directory,
    ):
        browser = Browser(tls)
        gate.log_in(browser)
        jar = browser.cookies.get(place.host, {})
        site = Site(place.host, ports, "; ".join(f"{name}={value}" for name, value in jar.items()))
        for port in ports.values():
            judge(site, port)
        yield site


def judge(site: Site, port: int) -> None:
    """With the session the application, without it and with a forged one not. Raises RuntimeError."""
    status, body = ask(port, site.host, site.cookie)
    if (status, body) != (200, PAGE):
        raise RuntimeError(f"{site.host}: the session does not open the application: {status} {body[:300]!r}")
    for cookie in ("", forge(site.cookie)):
        status, body = ask(port, site.host, cookie)
        if PAGE in body or status >= 500:
            raise RuntimeError(f"{site.host}: {status} without a session; this is no gate")


def ask(port: int, host: str, cookie: str) -> tuple[int, bytes]:
    """Status and body of the page, no redirect followed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", PATH, headers={"Host": host} | ({"Cookie": cookie} if cookie else {}))
        answer = connection.getresponse()
        return answer.status, answer.read()


def forge(cookie: str) -> str:
    """Each value in it with one letter in its middle changed."""
    pairs = [pair.partition("=") for pair in cookie.split("; ")]
    return "; ".join(f"{name}={_change(value)}" for name, _, value in pairs)


def _change(value: str) -> str:
    middle = len(value) // 2
    other = "B" if value[middle : middle + 1] == "A" else "A"
    return value[:middle] + other + value[middle + 1 :]


def _render_http(gate: Gate, place: Place, tls: int, ports: Mapping[str, int]) -> str:
    certificate, key = write_certificate(place.directory / "tls", (place.host,))
    application = f"127.0.0.1:{find_free_port()}"
    cache = _make(place.directory / "cache")
    alone = f"127.0.0.1:{place.port}"
    ways = {
        "documented": Way(alone),
        "kept": Way("gate", _KEPT_ALIVE),
        "cached": Way("gate", _KEPT_ALIVE + _CACHED, caches=True),
    }
    sites = {f"listen 127.0.0.1:{port};": ways[kind] for kind, port in ports.items()}
    # People log in here.
    sites[f"listen 127.0.0.1:{tls} ssl;"] = ways["documented"]
    servers = "".join(
        f"server {{ {listen} server_name {place.host}; {gate.render_site(way)} }}" for listen, way in sites.items()
    )
    return f"""
    {gate.http}
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    proxy_cache_path {cache} levels=1:2 keys_zone=gate:1m inactive=10s max_size=64m use_temp_path=off;
    upstream gate {{ server {alone}; keepalive 16; keepalive_requests 100000; }}
    upstream app {{ server {application}; keepalive 16; }}
    server {{ listen {application}; location / {{ return 200 "{PAGE.decode()}"; }} }}
    {servers}"""


def _make(directory: Path) -> Path:
    directory.mkdir(mode=0o700)
    return directory
