"""A server that answers as GitHub documents it (OAuth apps; REST API, version 2022-11-28), and wrong on request."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

CLIENT_ID, CLIENT_SECRET = "Iv1.0123456789abcdef", "github-client-secret"
MONA: dict[str, Any] = {"login": "Mona-Lisa", "id": 583231, "node_id": "MDQ6", "name": "Mona Lisa", "email": None}
EMAILS = [
    {"email": "mona@users.noreply.github.com", "primary": False, "verified": True, "visibility": None},
    {"email": "mona@example.com", "primary": True, "verified": True, "visibility": "private"},
]
ORGANISATIONS = [{"login": "Octo-Org", "id": 1}, {"login": "other", "id": 2}]
TEAMS = [{"slug": "core", "name": "Core", "organization": {"login": "Octo-Org", "id": 1}}]


class GithubServer:
    """Change its members any time. `answers` are those about whoever logs in next, by path under the API, `status` a
    status for a path. `people` are the answers by token; a token that is not there was revoked.
    """

    def __init__(self) -> None:
        self.url = ""
        self.token_answer: dict[str, Any] = {
            "access_token": "gho_token",
            "token_type": "bearer",
            "scope": "read:org,read:user,user:email",
        }
        self.answers: dict[str, Any] = {
            "user": MONA,
            "user/emails": EMAILS,
            "user/orgs": ORGANISATIONS,
            "user/teams": TEAMS,
        }
        self.people: dict[str, dict[str, Any]] = {"gho_token": self.answers}
        self.suspended: set[str] = set()
        self.status: dict[str, int] = {}
        self.headers: dict[str, dict[str, str]] = {}
        """Further headers of an answer, by path."""
        self.message = "as the test wants it"
        self.asked: list[str] = []
        self.challenges: set[str] = set()

    def add_person(self, login: str, number: int, *, organisations: list[str], teams: list[str]) -> str:
        """Somebody who logs in from now on; their token. `teams` are written `organisation/slug`."""
        token = f"gho_{login}"
        pairs = [team.split("/") for team in teams]
        self.people[token] = {
            "user": MONA | {"login": login, "id": number, "name": login},
            "user/emails": [{"email": f"{login}@example.com", "primary": True, "verified": True}],
            "user/orgs": [{"login": each, "id": 1} for each in organisations],
            "user/teams": [{"slug": slug, "name": slug, "organization": {"login": owner}} for owner, slug in pairs],
        }
        self.token_answer = self.token_answer | {"access_token": token}
        return token

    def authorize(self, query: dict[str, list[str]]) -> str:
        """Whoever comes agrees: the address of the callback."""
        self.challenges.add(query["code_challenge"][0])
        return f"{query['redirect_uri'][0]}?{urlencode({'code': 'c', 'state': query['state'][0]})}"

    def answer_token(self, form: dict[str, list[str]]) -> dict[str, Any]:
        """As GitHub: errors come with 200, and the verifier is checked against the challenges of those who began."""
        digest = hashlib.sha256(form["code_verifier"][0].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() not in self.challenges:
            return {"error": "bad_verification_code", "error_description": "The code passed is incorrect or expired."}
        if (form["client_id"], form["client_secret"]) != ([CLIENT_ID], [CLIENT_SECRET]):
            return {"error": "incorrect_client_credentials"}
        return self.token_answer

    def answer_api(self, path: str, query: dict[str, list[str]], authorization: str) -> tuple[int, Any]:
        if path in self.status:
            return self.status[path], {"message": self.message}
        token = authorization.removeprefix("Bearer ")
        if token in self.suspended:
            return 403, {"message": "Sorry. Your account was suspended."}
        if token not in self.people:
            return 401, {"message": "Bad credentials"}
        found = self.people[token][path]
        if isinstance(found, list):
            page, size = int(query.get("page", ["1"])[0]), int(query.get("per_page", ["30"])[0])
            return 200, found[(page - 1) * size : page * size]
        return 200, found


@contextlib.contextmanager
def running_github() -> Iterator[GithubServer]:
    """On loopback; the API is under /api/v3, as at an Enterprise Server."""
    state = GithubServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            state.asked.append(self.path)
            self._answer(200, state.answer_token(parse_qs(body)))

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            path = parts.path.removeprefix("/api/v3/")
            state.asked.append(path)
            if path == "/login/oauth/authorize":
                self.send_response(302)
                self.send_header("Location", state.authorize(parse_qs(parts.query)))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            status, document = state.answer_api(path, parse_qs(parts.query), self.headers.get("Authorization", ""))
            self._answer(status, document, state.headers.get(path, {}))

        def _answer(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
            content = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
