"""Two authd in a row: people log in at the edge, and the origin behind it only verifies, through two real nginx."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jwt
import pytest

from tests.forge import forge_token, rsa_key
from tests.harness.browser import Answer, Browser
from tests.harness.nginx import find_free_port
from tests.harness.origin import start_origin
from tests.harness.raw_http import Message, fetch
from tests.harness.stack import Stack, start_stack
from tests.idp_server import FakeProvider, running_provider

pytestmark = pytest.mark.nginx
AUD = "a" * 64
HOST = "app.test"
EVERYONE = [{"name": "Everyone", "decision": "allow", "include": [{"everyone": True}]}]
STAFF = [{"name": "Staff", "decision": "allow", "include": [{"email_domain": "example.com"}]}]
NAVIGATION = (("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"))


JOBS = [{"name": "Jobs", "decision": "non_identity", "include": [{"token_issuer": "jobs"}]}]


def machines(edge: Stack) -> list[dict[str, Any]]:
    """One job of the edge's, by the name that the edge gives it."""
    claim = {"claim_name": "common_name", "claim_value": "jobs/deploy", "token_issuer_id": edge_issuer(edge)}
    return [{"name": "Deployment", "decision": "non_identity", "include": [{"token_claim": claim}]}]


def edge_issuer(edge: Stack) -> str:
    return f"https://localhost:{edge.port}"


@dataclass
class Chain:
    """`edge` lets everybody in who can log in, `origin` the staff alone."""

    edge: Stack
    origin: Stack
    jobs: FakeProvider

    @property
    def url(self) -> str:
        return self.edge.url(HOST)

    def ask_origin(self, *headers: tuple[str, str]) -> Message:
        """Past the edge, as somebody does who found the origin's address."""
        return fetch(self.origin.port, "/page", host=HOST, headers=headers)

    def ask_with(self, token: str) -> int:
        return self.ask_origin(("Cf-Access-Jwt-Assertion", token)).status

    @property
    def shown_token(self) -> str:
        """The one that the application was shown last."""
        return self.origin.application.seen[-1].get("Cf-Access-Jwt-Assertion") or ""


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    port = find_free_port()
    behind = f"""location / {{
        set $authd_app app;
        include authd/authd-protect.conf;
        include authd/authd-identity.conf;
        proxy_pass http://127.0.0.1:{port};
    }}"""
    applications = [{"id": "app", "domains": [HOST], "aud": AUD, "policies": [*JOBS, *EVERYONE]}]
    with (
        running_provider() as jobs,
        start_stack(
            tmp_path_factory.mktemp("edge"),
            applications=applications,
            locations={HOST: behind},
            settings={"token_issuers": [{"id": "jobs", "issuer": jobs.issuer, "audiences": ["edge"]}]},
            team="localhost",
        ) as edge,
    ):
        verifying = {"id": "app", "domains": [HOST], "aud": AUD, "issuer": edge_issuer(edge)}
        verifying |= {"ca_file": str(edge.directory / "ca.pem"), "policies": [*machines(edge), *STAFF]}
        directory = tmp_path_factory.mktemp("origin")
        with start_origin(edge, directory, port=port, applications=[verifying], workers=2) as origin:
            yield Chain(edge, origin, jobs)


@pytest.fixture
def alice(chain: Chain) -> Browser:
    return chain.edge.log_in(chain.url, "alice")


def rotate_keys(stack: Stack) -> None:
    command = [
        sys.executable,
        "-m",
        "authd.cli",
        "keys",
        "rotate",
        "--now",
        "--config",
        str(stack.directory / "authd.yml"),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def key_id_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def test_who_logs_in_at_the_edge_reaches_the_application_behind_the_origin(chain: Chain, alice: Browser) -> None:
    answer = alice.request(chain.url)
    seen = {name.lower(): value for name, value in json.loads(answer.body)["headers"]}
    assert seen["cf-access-authenticated-user-email"] == "alice@example.com"
    claims = jwt.decode(seen["cf-access-jwt-assertion"], options={"verify_signature": False})
    assert (claims["iss"], claims["aud"]) == (f"https://localhost:{chain.edge.port}", [AUD])


def test_the_origin_has_policies_of_its_own(chain: Chain) -> None:
    mallory = chain.edge.browser()
    answer = chain.edge.try_log_in(chain.url, "mallory", mallory)
    assert answer.status == 403
    assert "mallory@example.org" in answer.text
    assert "Log out" not in answer.text, "the origin has no session to end"
    assert chain.edge.events("login.success")[-1]["email"] == "mallory@example.org"


def test_a_machine_of_the_edge_s_is_one_at_the_origin(chain: Chain) -> None:
    def call(job: str) -> Answer:
        now = int(time.time())
        claims = {"iss": chain.jobs.issuer, "aud": "edge", "sub": job, "iat": now, "exp": now + 60}
        token = forge_token({"alg": "RS256", "kid": "provider-1"}, claims, rsa_key("provider-1"), "RS256")
        headers = [("Authorization", f"Bearer {token}"), ("Accept", "*/*")]
        return chain.edge.browser().request(chain.url, headers=headers)

    answer = call("deploy")
    assert answer.status == 200
    seen = {name.lower(): value for name, value in json.loads(answer.body)["headers"]}
    assert seen["x-authd-user"] == "machine:jobs/deploy"
    claims = jwt.decode(seen["cf-access-jwt-assertion"], options={"verify_signature": False})
    assert (claims["iss"], claims["aud"], claims["sub"]) == (edge_issuer(chain.edge), AUD, "")
    # The edge lets every job in; the staff's `allow` at the origin is not about machines.
    assert call("another").status == 403


def test_who_comes_past_the_edge_is_told_to_come_through_it(chain: Chain) -> None:
    before = chain.origin.application.count
    page = chain.ask_origin(*NAVIGATION)
    assert page.status == 401
    assert f"https://localhost:{chain.edge.port}".encode() in page.body
    assert page.get("Location") is None
    assert page.get("Set-Cookie") is None
    script = chain.ask_origin(("Accept", "application/json"))
    assert script.status == 401
    assert json.loads(script.body)["error"] == "edge_token_required"
    spoofed = chain.ask_origin(("Cf-Access-Authenticated-User-Email", "alice@example.com"), ("X-Authd-User", "alice"))
    assert spoofed.status == 401
    assert chain.origin.application.count == before


def test_the_edge_s_word_is_the_header_and_only_without_it_the_cookie(chain: Chain, alice: Browser) -> None:
    alice.request(chain.url)
    token = chain.shown_token
    assert chain.ask_with(token) == 200
    assert chain.ask_origin(("Cookie", f"CF_Authorization={token}")).status == 200
    assert chain.ask_origin(("Cookie", f"CF_Authorization={token}"), ("Cf-Access-Jwt-Assertion", "x")).status == 401
    assert chain.ask_origin(("Cf-Access-Token", token)).status == 401
    assert chain.ask_origin(("Authorization", f"Bearer {token}")).status == 401


def test_j29_nginx_gives_nobody_the_decision_about_another_token(chain: Chain, alice: Browser) -> None:
    """All within the second for which a decision is remembered."""
    alice.request(chain.url)
    token = chain.shown_token
    header, payload, signature = token.split(".")
    forged = f"{header}.{payload}.{signature[:-4]}AAAA"
    for _ in range(3):
        assert chain.ask_with(token) == 200
        assert chain.ask_with(forged) == 401
        assert chain.ask_origin().status == 401
        assert chain.ask_origin(("Cookie", f"CF_Authorization={forged}")).status == 401


def test_nobody_logs_in_or_out_at_the_origin(chain: Chain) -> None:
    for name in ("login", "logout", "certs", "get-identity", "authorized?nonce=x"):
        answer = fetch(chain.origin.port, f"/cdn-cgi/access/{name}", host=HOST, headers=NAVIGATION)
        assert answer.status in (400, 401, 404), (name, answer.status)
        assert answer.get("Set-Cookie") is None


def test_f13_f15_a_rotation_at_the_edge_logs_nobody_out_at_the_origin(chain: Chain, alice: Browser) -> None:
    alice.request(chain.url)
    old = chain.shown_token
    # Twice: the key that signs now was made after the origin last looked.
    rotate_keys(chain.edge)
    rotate_keys(chain.edge)
    # Workers follow within a minute; new ones at once.
    chain.edge.stop_authd()
    chain.edge.start_authd()
    chain.edge.log_in(chain.url, "alice")
    new = chain.shown_token
    assert key_id_of(new) != key_id_of(old)
    for _ in range(20):
        assert chain.ask_with(old) == 200
        assert chain.ask_with(new) == 200


def test_who_is_in_stays_in_while_the_edge_is_down_and_the_origin_restarts(chain: Chain, alice: Browser) -> None:
    alice.request(chain.url)
    token = chain.shown_token
    chain.edge.stop_authd()
    try:
        assert chain.ask_with(token) == 200
        chain.origin.stop_authd()
        chain.origin.start_authd()
        began = time.monotonic()
        assert chain.ask_with(token) == 200
        assert time.monotonic() - began < 1
        assert chain.ask_origin(*NAVIGATION).status == 401
    finally:
        chain.edge.start_authd()
