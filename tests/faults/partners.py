"""Whom the authd of the scene of faults speaks to beside the company's provider: real servers that answer well.

issuer      logs in whoever comes; its keys also sign the tokens of jobs and of another edge
github      as GitHub documents itself
mail        takes the mails with codes
evaluator   says yes to whatever it is asked
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt

from tests.authd.idp.github_server import CLIENT_ID, CLIENT_SECRET, GithubServer, running_github
from tests.authd.issuers.edge_tokens import PERSON, TEAM, sign
from tests.forge import forge_token, public_jwk, rsa_key
from tests.harness.smtp import MailServer, start_mail_server
from tests.idp_server import CLIENT_SECRET as ISSUER_SECRET
from tests.idp_server import FakeProvider, running_provider

EDGE_AUD = "c" * 64
GONE_ISSUER, GONE_AUD = "https://gone.cloudflareaccess.com", "d" * 64
JOBS_AUDIENCE = "jobs-of-the-tests"
_KEY = "provider-1"
_EVERYONE = {"name": "Everyone", "decision": "allow", "include": [{"everyone": True}]}
_JOBS = {"name": "Jobs", "decision": "non_identity", "include": [{"token_issuer": "jobs"}]}
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(frozen=True, slots=True)
class Partners:
    """All of them, running."""

    directory: Path
    issuer: FakeProvider
    github: GithubServer
    mail: MailServer
    evaluator_url: str

    def sign_job(self, key: str = _KEY, **changes: Any) -> str:
        """A job's token that nobody has seen before; `key` names the one that signs."""
        now = int(time.time())
        claims = {"iss": self.issuer.issuer, "aud": JOBS_AUDIENCE, "sub": "shop/main", "iat": now, "exp": now + 600}
        return forge_token(
            {"alg": "RS256", "typ": "JWT", "kid": key}, claims | _once() | changes, rsa_key(key), "RS256"
        )

    def sign_person(self, key: str = _KEY, *, issuer: str = TEAM, audience: str = EDGE_AUD) -> str:
        """The other edge's token for somebody of the staff, as new."""
        now = int(time.time())
        times = {"iat": now, "nbf": now, "exp": now + 600, "identity_nonce": secrets.token_hex(8)}
        return sign(PERSON, key=key, iss=issuer, aud=[audience], **times)

    def sign_logout(self, key: str = _KEY, **named: str) -> str:
        """The word of the issuer that a session (`sid`) or a person (`sub`) has ended."""
        now = int(time.time())
        claims = {
            "iss": self.issuer.issuer,
            "aud": "authd",
            "iat": now,
            "exp": now + 120,
            "events": {_LOGOUT_EVENT: {}},
        }
        header = {"alg": "RS256", "typ": "logout+jwt", "kid": _KEY}
        return forge_token(header, claims | _once() | named, rsa_key(key), "RS256")

    def describe_providers(self) -> list[dict[str, Any]]:
        """For the configuration. The issuer is last: what it says of logouts passes all the others."""
        github = {"id": "hub", "type": "github", "name": "GitHub", "client_id": CLIENT_ID, "base_url": self.github.url}
        mail = {
            "server": f"localhost:{self.mail.port}",
            "sender": "login@example.com",
            "ca_file": str(self.mail.certificate),
        }
        many = dict.fromkeys(("per_address", "per_network", "per_email", "per_email_and_day", "in_all"), 100_000)
        guests = {"id": "guests", "type": "onetimepin", "name": "Code by mail", "mail": mail, "code_rate_limit": many}
        issuer = {
            "id": "partner",
            "type": "oidc",
            "name": "Partner",
            "issuer": self.issuer.issuer,
            "client_id": "authd",
        }
        return [
            github | {"client_secret_file": self._write_secret("hub.secret", CLIENT_SECRET)},
            guests,
            issuer | {"client_secret_file": self._write_secret("partner.secret", ISSUER_SECRET)},
        ]

    def describe_applications(self) -> list[dict[str, Any]]:
        """One for each way in."""
        evaluation = {"evaluate_url": f"{self.evaluator_url}/evaluate", "keys_url": f"{self.evaluator_url}/keys"}
        evaluated = {"name": "Evaluated", "decision": "allow", "include": [{"external_evaluation": evaluation}]}
        edge = {"issuer": TEAM, "aud": EDGE_AUD, "certs_url": f"{self.issuer.issuer}/jwks"}
        gone = {"issuer": GONE_ISSUER, "aud": GONE_AUD, "certs_url": "http://127.0.0.1:1/keys"}
        return [
            {"id": "guests", "domains": ["guests.test"], "allowed_idps": ["guests"], "policies": [_EVERYONE]},
            {"id": "hub", "domains": ["hub.test"], "allowed_idps": ["hub"], "policies": [_EVERYONE]},
            {"id": "evaluated", "domains": ["evaluated.test"], "allowed_idps": ["corp"], "policies": [evaluated]},
            {"id": "api", "domains": ["api.test"], "allowed_idps": ["corp"], "policies": [_JOBS]},
            {"id": "behind", "domains": ["behind.test"], "policies": [_EVERYONE], **edge},
            {"id": "gone", "domains": ["gone.test"], "policies": [_EVERYONE], **gone},
        ]

    def describe_token_issuers(self) -> list[dict[str, Any]]:
        return [{"id": "jobs", "issuer": self.issuer.issuer, "audiences": [JOBS_AUDIENCE]}]

    def _write_secret(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text + "\n")
        path.chmod(0o600)
        return str(path)


def _once() -> dict[str, str]:
    return {"jti": secrets.token_hex(8)}


@contextmanager
def running_partners(directory: Path) -> Iterator[Partners]:
    """All of them, until the end of the block."""
    for name in (_KEY, "stranger"):
        rsa_key(name)  # takes a while the first time
    with ExitStack() as cleanup:
        issuer = cleanup.enter_context(running_provider())
        github = cleanup.enter_context(running_github())
        mail = cleanup.enter_context(start_mail_server(directory, demands_login=False))
        yield Partners(directory, issuer, github, mail, cleanup.enter_context(_running_evaluator()))


@contextmanager
def _running_evaluator() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = jwt.decode(body["token"], options={"verify_signature": False})
            now = int(time.time())
            claims = {"success": True, "nonce": asked["nonce"], "iat": now, "exp": now + 60}
            self._send({"token": forge_token({"alg": "RS256", "kid": _KEY}, claims, rsa_key(_KEY), "RS256")})

        def do_GET(self) -> None:
            self._send({"keys": [public_jwk(_KEY)]})

        def _send(self, document: Any) -> None:
            content = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
