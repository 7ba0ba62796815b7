"""An OpenID provider that does wrong on request: a real HTTP server, real keys, real signatures.

In process: `with running_provider() as idp: idp.misbehave = {"invalid-aud"}`.
As a process: `python -m tests.idp_server --port 9400 --misbehave invalid-aud`; it logs in whoever
comes, as Alice, and `POST /control` with `{"misbehave": [...], "claims": {...}}` changes it while it runs;
`GET /control` tells how often each path was asked. Names: `tests.idp_misbehaviours`.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gzip
import hashlib
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote_plus, urlencode, urlsplit

from tests import idp_misbehaviours as wrong
from tests.forge import b64, forge_token, public_jwk, rsa_key

ALICE: dict[str, Any] = {
    "sub": "alice-1",
    "email": "alice@example.com",
    "email_verified": True,
    "name": "Alice Example",
    "groups": ["engineers", "staff"],
    "amr": ["pwd", "otp"],
    "department": "research",
}
CLIENT_ID, CLIENT_SECRET = "authd", "s3cret+with%signs"
_PATHS = {path: name for name, path in wrong.ENDPOINTS.items()}


class FakeProvider:
    """The provider's state. `misbehave` and `claims` (over Alice's; None removes one) may change any time."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.misbehave: set[str] = set()
        self.claims: dict[str, Any] = {}
        self.delays: dict[str, float] = {}
        """Seconds before a good answer, by endpoint: `token`, `userinfo`, ..."""
        self.key_names = ["provider-1"]
        self.counts: Counter[str] = Counter()
        self.token_requests: list[dict[str, str]] = []
        self.stopping = threading.Event()
        self._codes: dict[str, dict[str, str]] = {}
        self._access_tokens: dict[str, dict[str, Any]] = {}

    def rotate(self, *, keep_old: bool = False) -> None:
        """Sign with a new key from now on."""
        new = f"provider-{int(self.key_names[0].rpartition('-')[2]) + 1}"
        self.key_names = [new, *self.key_names] if keep_old else [new]

    def metadata(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "issuer": self.issuer + ("/other" if "discovery-issuer-mismatch" in self.misbehave else ""),
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": "iss-not-advertised" not in self.misbehave,
        }
        if "secret-in-body" in self.misbehave:
            document["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
        if "only-hs256" in self.misbehave:
            document["id_token_signing_alg_values_supported"] = ["HS256"]
        return document

    def key_set(self) -> Any:
        document: Any = {"keys": [public_jwk(name) for name in self.key_names]}
        for name in self.misbehave & wrong.JWKS.keys():
            document = wrong.JWKS[name](document["keys"])
        return document

    def authorize(self, query: str) -> str:
        """Return the address of the callback: whoever comes is Alice."""
        asked = dict(parse_qsl(query))
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        pairs = [("code", code), ("state", asked["state"]), ("iss", self.issuer)]
        for name in self.misbehave & wrong.CALLBACK.keys():
            pairs = wrong.CALLBACK[name](pairs)
        return f"{asked['redirect_uri']}?{urlencode(pairs)}"

    def redeem(self, form: dict[str, str], authorization: str) -> tuple[int, Any]:
        self.token_requests.append(form | {"authorization": authorization})
        if form.get("grant_type") == "refresh_token" and self._knows_client(form, authorization):
            return self._refresh(form["refresh_token"])
        asked = self._codes.pop(form.get("code", ""), None)
        if not self._knows_client(form, authorization):
            return 401, {"error": "invalid_client"}
        if asked is None or asked["redirect_uri"] != form.get("redirect_uri"):
            return 400, {"error": "invalid_grant"}
        if asked.get("code_challenge_method") != "S256" or asked["code_challenge"] != _challenge(form):
            return 400, {"error": "invalid_grant"}
        access_token = secrets.token_urlsafe(16)
        answer = {"access_token": access_token, "token_type": "Bearer", "expires_in": "soon"}
        if "token-type-mac" in self.misbehave:
            answer["token_type"] = "mac"
        if "token-without-id-token" not in self.misbehave:
            answer["id_token"] = self._id_token(asked, access_token)
        return 400 if "token-with-400" in self.misbehave else 200, answer

    def _refresh(self, refresh_token: str) -> tuple[int, Any]:
        """Any token is good for one more, which is one letter longer."""
        access_token = secrets.token_urlsafe(16)
        id_token = self._id_token({"client_id": CLIENT_ID, "nonce": "of the login"}, access_token)
        answer = {"access_token": access_token, "token_type": "Bearer", "id_token": id_token}
        return 200, answer | {"refresh_token": f"{refresh_token}+"}

    def userinfo(self, authorization: str) -> tuple[str, bytes]:
        person = self._access_tokens.get(authorization.removeprefix("Bearer "), {"sub": "unknown"})
        if "userinfo-invalid-sub" in self.misbehave:
            person = person | {"sub": "bob-2"}
        if not {"userinfo-signed", "userinfo-signed-other-client"} & self.misbehave:
            return "application/json", json.dumps(person).encode()
        audience = CLIENT_ID if "userinfo-signed" in self.misbehave else "another-client"
        claims = person | {"iss": self.issuer, "aud": audience}
        header = {"alg": "RS256", "kid": self.key_names[0]}
        return "application/jwt", forge_token(header, claims, rsa_key(self.key_names[0]), "RS256").encode()

    def _knows_client(self, form: dict[str, str], authorization: str) -> bool:
        if "public-client" in self.misbehave:
            return not authorization and "client_secret" not in form and form.get("client_id") == CLIENT_ID
        if "secret-in-body" in self.misbehave:
            return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        pair = base64.b64decode(authorization.removeprefix("Basic ")).decode().split(":")
        return [unquote_plus(part) for part in pair] == [CLIENT_ID, CLIENT_SECRET]

    def _id_token(self, asked: dict[str, str], access_token: str) -> str:
        person = {name: value for name, value in (ALICE | self.claims).items() if value is not None}
        self._access_tokens[access_token] = person
        if "scope-userinfo-claims" in self.misbehave:
            person = {"sub": person["sub"]}
        now = int(time.time())
        times = {"iat": now, "exp": now + 300}
        parties = {"iss": self.issuer, "aud": asked["client_id"], "nonce": asked["nonce"]}
        claims = person | parties | times | {"at_hash": wrong.at_hash(access_token)}
        for name in self.misbehave & wrong.CLAIMS.keys():
            claims = wrong.CLAIMS[name](claims)
        if "signing-key-rotation-just-before-signing" in self.misbehave:
            self.rotate()
        key_name = self.key_names[0]
        header = {"alg": "RS256", "typ": "JWT", "kid": key_name}
        for name in self.misbehave & wrong.SIGNING.keys():
            return wrong.SIGNING[name](header, claims, key_name, CLIENT_SECRET)
        return forge_token(header, claims, rsa_key(key_name), "RS256")


def _challenge(form: dict[str, str]) -> str:
    return b64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the tests look at `counts`."""

    def _serve(self) -> None:
        provider = self.server.provider
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/control":
            self._control(body)
            return
        provider.counts[path] += 1
        for kind in wrong.KINDS:
            if f"{_PATHS.get(path)}-{kind}" in provider.misbehave:
                with contextlib.suppress(OSError):
                    self._spoil(kind)
                self.close_connection = True
                return
        provider.stopping.wait(provider.delays.get(_PATHS.get(path, ""), 0))
        self._answer(path, body)

    def _answer(self, path: str, body: bytes) -> None:
        provider, authorization = self.server.provider, self.headers.get("Authorization", "")
        if path == "/authorize":
            self._send(302, b"", location=provider.authorize(urlsplit(self.path).query))
        elif path == "/token":
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            status, answer = provider.redeem(form, authorization)
            text = json.dumps(answer)
            if "token-two-id-tokens" in provider.misbehave:
                text = text[:-1] + ', "id_token": "a.b.c"}'
            self._send(status, text.encode())
        elif path == "/userinfo":
            content_type, document = provider.userinfo(authorization)
            self._send(200, document, content_type=content_type)
        elif path == wrong.ENDPOINTS["discovery"]:
            self._send(200, json.dumps(provider.metadata()).encode())
        elif path == "/jwks":
            self._send(200, json.dumps(provider.key_set()).encode())
        else:
            self._send(404, b"{}")

    def _send(self, status: int, body: bytes, *, content_type: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _spoil(self, kind: str) -> None:
        stopping = self.server.provider.stopping
        if kind == "html-200":
            self._send(200, b"<!DOCTYPE html><title>Just a moment...</title>", content_type="text/html")
        elif kind.isdigit():
            self._send(int(kind), b"{}")
        elif kind == "redirect":
            self._send(302, b"x" * 10_000_000, location="http://127.0.0.1:1/stolen")
        elif kind == "array":
            self._send(200, b'[{"sub": "alice-1"}]')
        elif kind == "empty":
            self._send(200, b"")
        elif kind == "gzip":
            self._send(200, gzip.compress(b" " * 50_000_000), content_encoding="gzip")
        elif kind == "slow":
            stopping.wait(20)
        elif kind == "cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
        elif kind == "50mb":
            self._send_endless(b" " * 1_000_000, count=50, pause_seconds=0)
        else:
            # One byte at a time, for ever: no timeout between two bytes ever strikes.
            start = b"HTTP/1.1 200 OK\r\n" + (b"\r\n" if kind == "drip" else b"X-Slow: ")
            self.wfile.write(start)
            self._send_endless(b" " if kind == "drip" else b"x", count=600, pause_seconds=0.05, headers=False)

    def _send_endless(self, piece: bytes, *, count: int, pause_seconds: float, headers: bool = True) -> None:
        if headers:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        for _ in range(count):
            self.wfile.write(piece)
            self.wfile.flush()
            if self.server.provider.stopping.wait(pause_seconds):
                return

    def _control(self, body: bytes) -> None:
        provider = self.server.provider
        if self.command == "POST":
            wanted = json.loads(body)
            provider.misbehave = set(wanted.get("misbehave", []))
            provider.claims = wanted.get("claims", {})
            if wanted.get("rotate"):
                provider.rotate()
        self._send(200, json.dumps(provider.counts).encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Five hundred logins at once are one of the tests.
    request_queue_size = 512

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.provider = FakeProvider(f"http://127.0.0.1:{self.server_address[1]}")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what half of the tests are about."""


@contextlib.contextmanager
def running_provider(port: int = 0) -> Iterator[FakeProvider]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    server = _Server(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.provider
    finally:
        server.provider.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description="An OpenID provider for tests")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--misbehave", action="append", default=[])
    arguments = parser.parse_args()
    server = _Server(arguments.port)
    server.provider.misbehave = set(arguments.misbehave)
    print(server.provider.issuer, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
