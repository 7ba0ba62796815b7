"""A server that answers as Microsoft documents Entra ID and Graph, and wrong on request: real keys, real signatures.

One tenant-independent discovery document with a template for its issuer, one key set for all tenants, and the groups
of a person in pages, at the same host under `/v1.0`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from tests.forge import forge_token, public_jwk, rsa_key
from tests.idp_server import CLIENT_ID

OURS, PARTNER, FOREIGN = (f"{digit * 8}-1111-4222-8333-444455556666" for digit in "abc")
GROUPS = tuple(f"{number:08d}-0000-4000-8000-000000000000" for number in range(250))
OVERAGE: dict[str, Any] = {
    "_claim_names": {"groups": "src1"},
    "_claim_sources": {"src1": {"endpoint": "https://graph.windows.net/t/users/u/getMemberObjects"}},
}
Answer = tuple[int, Any]


class EntraServer:
    """Change its members any time. `claims` stand over those of the ID token; None removes one."""

    def __init__(self) -> None:
        self.url = ""
        self.claims: dict[str, Any] = {}
        self.refreshes_with_id_token = True
        self.key_name = "shared"
        self.groups: tuple[str, ...] = GROUPS
        self.page_size = 100
        self.graph: Callable[[str], Answer] | None = None
        """In place of Graph's good answer, by the query of the request."""
        self.stopping = threading.Event()
        self.graph_requests: list[tuple[str, str]] = []
        self._asked: dict[str, str] = {}

    def issuer(self, tenant: str = "{tenantid}") -> str:
        return f"{self.url}/{tenant}/v2.0"

    def metadata(self, tenant: str) -> dict[str, Any]:
        base = f"{self.url}/{tenant}"
        return {
            "issuer": self.issuer() if tenant in ("organizations", "common") else self.issuer(tenant),
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "jwks_uri": f"{base}/discovery/v2.0/keys",
            "userinfo_endpoint": f"{self.url}/oidc/userinfo",
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        }

    def key_set(self) -> dict[str, Any]:
        return {
            "keys": [
                public_jwk("shared", issuer=self.issuer()),
                public_jwk("unbound"),
                public_jwk("of-ours", issuer=self.issuer(OURS)),
                public_jwk("of-foreign", issuer=self.issuer(FOREIGN)),
                public_jwk("odd", issuer=["x"]),
            ]
        }

    def authorize(self, query: str) -> str:
        self._asked = dict(parse_qsl(query))
        return f"{self._asked['redirect_uri']}?{urlencode({'code': 'c', 'state': self._asked['state']})}"

    def redeem(self, form: dict[str, str]) -> Answer:
        is_refresh = form["grant_type"] == "refresh_token"
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if not is_refresh and challenge != self._asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        answer = {"access_token": "graph-token", "token_type": "Bearer", "refresh_token": "next"}
        if is_refresh and not self.refreshes_with_id_token:
            return 200, answer
        return 200, answer | {"id_token": self.sign(nonce=self._asked.get("nonce"))}

    def sign(self, **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "aud": CLIENT_ID,
            "iss": self.issuer(OURS),
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "sub": "pairwise-jane",
            "tid": OURS,
            "email": "jane@example.com",
            "name": "Jane",
            "ver": "2.0",
        }
        claims = {name: value for name, value in (claims | changes | self.claims).items() if value is not None}
        header = {"alg": "RS256", "typ": "JWT", "kid": self.key_name}
        return forge_token(header, claims, rsa_key(self.key_name), "RS256")

    def member_of(self, query: str) -> Answer:
        if self.graph:
            return self.graph(query)
        start = int(parse_qs(query).get("$skiptoken", ["0"])[0])
        names = self.groups[start : start + self.page_size]
        value = [{"@odata.type": "#microsoft.graph.group", "id": name} for name in names]
        value.append({"@odata.type": "#microsoft.graph.directoryRole", "id": "a-role"})
        page: dict[str, Any] = {"@odata.context": f"{self.url}/v1.0/$metadata#directoryObjects(id)", "value": value}
        if start + self.page_size < len(self.groups):
            page["@odata.nextLink"] = self.link(start + self.page_size)
        return 200, page

    def link(self, start: int) -> str:
        return f"{self.url}/v1.0/me/transitiveMemberOf?$select=id&$top=999&$skiptoken={start}"

    def answer(self, path: str, query: str, authorization: str) -> Answer:
        if path == "/v1.0/me/transitiveMemberOf":
            self.graph_requests.append((query, authorization))
            return self.member_of(query)
        if path == "/oidc/userinfo":
            return 200, {"sub": "pairwise-jane", "name": "Jane"}
        if path.endswith("/discovery/v2.0/keys"):
            return 200, self.key_set()
        if path.endswith("/v2.0/.well-known/openid-configuration"):
            return 200, self.metadata(path.split("/")[1])
        return 404, {}


@contextlib.contextmanager
def running_entra() -> Iterator[EntraServer]:
    """On loopback until the block ends."""
    state = EntraServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer(*state.redeem(dict(parse_qsl(body))))

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path.endswith("/authorize"):
                self.send_response(302)
                self.send_header("Location", state.authorize(parts.query))
                self.end_headers()
                return
            self._answer(*state.answer(parts.path, parts.query, self.headers.get("Authorization", "")))

        def _answer(self, status: int, document: Any) -> None:
            content = document if isinstance(document, bytes) else json.dumps(document).encode()
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield state
    finally:
        state.stopping.set()
        server.shutdown()
        server.server_close()
