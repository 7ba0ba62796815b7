"""A small application that trusts nobody but authd's signature, as one of yours would behind authd.

    python -m tests.demo.application --socket S --name Grafana --team https://auth.localhost:8443 --audience AUD --ca CA

nginx sends every visitor's token in `Cf-Access-Jwt-Assertion`. The application verifies it against the keys
that the team host publishes, and shows whom it was told about. Without a good token it answers 403.
"""

from __future__ import annotations

import argparse
import json
import socketserver
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import urllib3

from tests.demo.application_page import render_page

KEYS_PATH = "/cdn-cgi/access/certs"
KEYS_TIMEOUT_SECONDS = 5
# A key set is asked for again at most this often, however many tokens name an unknown key.
REFRESH_SECONDS = 5.0


class TokenVerifier:
    """Verifies tokens of one team for one application. Keys are fetched when a token names one that is not known."""

    def __init__(self, team: str, audience: str, ca_file: str) -> None:
        self._team = team
        self._audience = audience
        address = urlsplit(team)
        # Connects to loopback and verifies the certificate for the team's host: Python does not resolve
        # *.localhost everywhere. Elsewhere this would be `urllib3.PoolManager(ca_certs=...)`.
        self._pool = urllib3.HTTPSConnectionPool(
            "127.0.0.1",
            address.port,
            server_hostname=address.hostname,
            assert_hostname=address.hostname,
            ca_certs=ca_file,
            cert_reqs="CERT_REQUIRED",
            timeout=KEYS_TIMEOUT_SECONDS,
            headers={"Host": address.netloc},
        )
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = -REFRESH_SECONDS
        self._lock = threading.Lock()

    def verify_token(self, unverified_token: str) -> Mapping[str, Any]:
        """The claims. Raises jwt.PyJWTError or urllib3.exceptions.HTTPError."""
        key = self._find_key(str(jwt.get_unverified_header(unverified_token).get("kid")))
        if key is None:
            raise jwt.InvalidKeyError("the token names a key that the team does not publish")
        claims: Mapping[str, Any] = jwt.decode(
            unverified_token,
            key,
            algorithms=["RS256"],
            audience=self._audience,
            issuer=self._team,
            options={"require": ["exp", "iat", "nbf", "iss", "aud"]},
        )
        return claims

    def _find_key(self, key_id: str) -> jwt.PyJWK | None:
        with self._lock:
            if key_id not in self._keys and time.monotonic() - self._fetched_at > REFRESH_SECONDS:
                self._fetched_at = time.monotonic()
                document = self._pool.request("GET", KEYS_PATH, redirect=False).json()
                self._keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(document).keys if key.key_id}
            return self._keys.get(key_id)


class Handler(BaseHTTPRequestHandler):
    """Answers every GET with the identity that it verified: as a page, or as JSON under /api."""

    protocol_version = "HTTP/1.1"
    verifier: TokenVerifier
    name: str
    links: Mapping[str, str]

    def do_GET(self) -> None:
        try:
            claims = self.verifier.verify_token(self.headers.get("Cf-Access-Jwt-Assertion", ""))
        except (jwt.PyJWTError, urllib3.exceptions.HTTPError) as error:
            self._answer(403, "text/plain", f"{self.name} let nobody in: {error}\n")
            return
        if self.path.startswith("/api"):
            self._answer(200, "application/json", json.dumps({"application": self.name, "claims": claims}) + "\n")
            return
        # What nginx passed on beside the token, to be looked at; only the token is proof.
        received = {name: value for name, value in self.headers.items() if name.startswith(("Cf-Access-", "X-Authd-"))}
        self._answer(200, "text/html", render_page(self.name, self.path, claims, received, self.links))

    def _answer(self, status: int, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{content_type}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "nginx"  # on a unix socket there is no address, which the base class would log


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """On a unix socket, so that the demonstration takes no port for it."""

    daemon_threads = True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("socket", "name", "team", "audience", "ca"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--link", action="append", default=[], metavar="NAME=URL", help="shown on the page")
    arguments = parser.parse_args()
    Handler.verifier = TokenVerifier(arguments.team, arguments.audience, arguments.ca)
    Handler.name = arguments.name
    Handler.links = dict(link.split("=", 1) for link in arguments.link)
    Path(arguments.socket).unlink(missing_ok=True)
    with Server(arguments.socket, Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
