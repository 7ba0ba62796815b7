"""What others wrote for Cloudflare Access takes authd's tokens as they are, given nothing but the team's address.

The packages come from the registries, pinned by hash, and run in an environment of their own; keys are fetched over
verified TLS from a running authd. What each of them refuses of Cloudflare's tokens, it refuses of ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.forge import forge_token, rsa_key
from tests.harness.idp import NODE
from tests.harness.stack import DEFAULT_APPLICATIONS, Stack, start_stack
from tests.idp_server import running_provider

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".cache/verifiers/bin/python"
GRAFANA, WIKI, BRIEF, JOBS = "1" * 64, "2" * 64, "3" * 64, "4" * 64
EVERYONE = [{"name": "Everyone", "decision": "allow", "include": [{"everyone": True}]}]
MACHINES = [{"name": "Jobs", "decision": "non_identity", "include": [{"token_issuer": "jobs"}]}]
APPLICATIONS = [
    DEFAULT_APPLICATIONS[0] | {"aud": GRAFANA},
    DEFAULT_APPLICATIONS[1] | {"aud": WIKI},
    {"id": "jobs", "domains": ["jobs.test"], "aud": JOBS, "policies": MACHINES},
    {"id": "brief", "domains": ["brief.test"], "aud": BRIEF, "session_duration": "1s", "policies": EVERYONE},
]


@dataclass(frozen=True)
class Site:
    """A running authd with Alice logged in, and the tokens that applications were shown."""

    stack: Stack
    tokens: dict[str, str]

    @property
    def team(self) -> str:
        return f"https://localhost:{self.stack.port}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with (
        running_provider() as jobs,
        start_stack(
            tmp_path_factory.mktemp("site"),
            applications=APPLICATIONS,
            settings={"token_issuers": [{"id": "jobs", "issuer": jobs.issuer, "audiences": ["edge"]}]},
            team="localhost",
        ) as stack,
    ):
        browser, tokens = stack.browser(), {}
        for name, host in (("grafana", "grafana.test"), ("wiki", "wiki.other.example"), ("brief", "brief.test")):
            stack.log_in(stack.url(host), "alice", browser)
            tokens[name] = stack.application.seen[-1].get("Cf-Access-Jwt-Assertion") or ""
        claims = {"iss": jobs.issuer, "aud": "edge", "sub": "deploy", "exp": int(time.time()) + 600}
        bearer = forge_token({"alg": "RS256", "kid": "provider-1"}, claims, rsa_key("provider-1"), "RS256")
        stack.browser().request(stack.url("jobs.test"), headers=[("Authorization", f"Bearer {bearer}")])
        tokens["jobs"] = stack.application.seen[-1].get("Cf-Access-Jwt-Assertion") or ""
        yield Site(stack, tokens)


def run(command: list[str | Path], site: Site, token: str, aud: str) -> Any:
    asked = {"team": site.team, "aud": aud, "url": site.stack.url("grafana.test"), "token": token}
    authority = str(site.stack.directory / "ca.pem")
    environment = os.environ | {"NODE_EXTRA_CA_CERTS": authority, "SSL_CERT_FILE": authority}
    done = subprocess.run(
        command, input=json.dumps(asked), capture_output=True, text=True, timeout=60, env=environment, cwd=HERE
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def ask_pages(site: Site, token: str, aud: str = GRAFANA) -> Any:
    return run([NODE, "--no-warnings", "pages.mjs"], site, token, aud)


def ask_pyramid(site: Site, token: str, aud: str = GRAFANA) -> Any:
    return run([PYTHON, "-W", "ignore", "pyramid_application.py"], site, token, aud)


def ask_django(site: Site, token: str, aud: str = GRAFANA) -> Any:
    return run([PYTHON, "-W", "ignore", "django_application.py"], site, token, aud)


EACH: dict[str, tuple[Callable[..., Any], int]] = {
    "@cloudflare/pages-plugin-cloudflare-access": (ask_pages, 302),
    "pyramid-cloudflare-access": (ask_pyramid, 403),
    "allowedflare": (ask_django, 403),
}
each_verifier = pytest.mark.parametrize(("ask", "refusal"), EACH.values(), ids=EACH)


@each_verifier
def test_a_token_of_authd_is_accepted(site: Site, ask: Callable[..., Any], refusal: int) -> None:
    assert ask(site, site.tokens["grafana"])["status"] == 200


@each_verifier
def test_a_machine_s_token_is_accepted(site: Site, ask: Callable[..., Any], refusal: int) -> None:
    assert ask(site, site.tokens["jobs"], JOBS)["status"] == 200


@each_verifier
def test_j25_a_token_for_another_application_is_refused(site: Site, ask: Callable[..., Any], refusal: int) -> None:
    assert ask(site, site.tokens["wiki"])["status"] == refusal


@each_verifier
def test_j27_a_token_that_has_expired_is_refused(site: Site, ask: Callable[..., Any], refusal: int) -> None:
    expires_at = jwt.decode(site.tokens["brief"], options={"verify_signature": False})["exp"]
    time.sleep(max(0.0, expires_at + 1 - time.time()))
    assert ask(site, site.tokens["brief"], BRIEF)["status"] == refusal


@each_verifier
@pytest.mark.parametrize("kid", ["the team's", "of its own"])
def test_j25_a_token_of_another_issuer_is_refused(site: Site, ask: Callable[..., Any], refusal: int, kid: str) -> None:
    header = jwt.get_unverified_header(site.tokens["grafana"])
    claims = jwt.decode(site.tokens["grafana"], options={"verify_signature": False}) | {"iss": "https://evil.example"}
    named = header | ({} if kid == "the team's" else {"kid": "f" * 64})
    assert ask(site, forge_token(named, claims, rsa_key("stranger"), "RS256"))["status"] == refusal


def test_cloudflare_s_plugin_finds_the_whole_identity(site: Site) -> None:
    found = ask_pages(site, site.tokens["grafana"])
    assert found["payload"]["email"] == "alice@example.com"
    assert found["identity"]["email"] == "alice@example.com"
    assert found["identity"]["groups"] == ["staff", "admins"]


def test_cloudflare_s_plugin_sends_who_is_refused_to_authd_s_login(site: Site) -> None:
    location = ask_pages(site, site.tokens["wiki"])["location"]
    assert location == f"{site.team}/cdn-cgi/access/login/grafana.test?kid={GRAFANA}&redirect_url=%2F"
    answer = site.stack.browser().request(location)
    # The login begins at the application, which knows this browser.
    assert answer.status == 302
    assert answer.location.startswith(site.stack.url("grafana.test"))


def test_django_knows_the_person(site: Site) -> None:
    assert ask_django(site, site.tokens["grafana"])["said"] == {"username": "alice", "email": "alice@example.com"}
    assert ask_django(site, site.tokens["jobs"], JOBS)["said"] == {"username": "jobs/deploy", "email": ""}
