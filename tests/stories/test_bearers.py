"""A job with a token of its own calls an application, through nginx, and the application knows which job it is."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jwt
import pytest

from tests.forge import forge_token, rsa_key
from tests.harness.browser import Answer
from tests.harness.stack import TEAM, Stack, start_stack
from tests.idp_server import FakeProvider, running_provider
from tests.stories.waiting import wait_until

pytestmark = pytest.mark.nginx
AUD = "b" * 64
AUDIENCE = "https://auth.test"
EVERYONE = [{"name": "Everyone", "decision": "allow", "include": [{"everyone": True}]}]


def claim(name: str, value: str) -> dict[str, Any]:
    return {"token_claim": {"claim_name": name, "claim_value": value, "token_issuer_id": "jobs"}}


JOBS = [
    {"name": "Main", "decision": "non_identity", "include": [claim("ref", "main")], "require": [claim("repo", "shop")]},
    *EVERYONE,
]


@dataclass
class Site:
    stack: Stack
    issuer: FakeProvider

    def sign(self, key: str = "provider-1", kid: str = "", **changes: Any) -> str:
        """As a job gets it, for a minute."""
        now = int(time.time())
        claims = {"iss": self.issuer.issuer, "aud": AUDIENCE, "sub": "shop/main", "repo": "shop", "ref": "main"}
        claims |= {"iat": now, "exp": now + 60, **changes}
        return forge_token({"alg": "RS256", "typ": "JWT", "kid": kid or key}, claims, rsa_key(key), "RS256")

    def call(self, token: str | None = None, *headers: tuple[str, str], scheme: str = "Bearer") -> Answer:
        """As curl does: it accepts anything, and follows nothing."""
        sent = [("Accept", "*/*"), ("User-Agent", "curl/8.5.0"), *headers]
        sent += [("Authorization", f"{scheme} {token}")] if token else []
        return self.stack.browser().request(self.stack.url("api.test", "/deploy"), headers=sent)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    for name in ("provider-1", "provider-2", "stranger"):
        rsa_key(name)
    applications = [
        {"id": "api", "domains": ["api.test"], "aud": AUD, "policies": JOBS},
        {"id": "wiki", "domains": ["wiki.test"], "policies": EVERYONE},
    ]
    with running_provider() as issuer:
        token_issuer = {"id": "jobs", "issuer": issuer.issuer, "audiences": [AUDIENCE]}
        settings = {"token_issuers": [token_issuer], "workers": 2}
        with start_stack(tmp_path_factory.mktemp("site"), applications=applications, settings=settings) as stack:
            yield Site(stack, issuer)


def test_the_application_knows_the_job_and_can_prove_it(site: Site) -> None:
    answer = site.call(site.sign())
    assert answer.status == 200
    assert answer.get_all("Set-Cookie") == []
    seen = {name.lower(): value for name, value in json.loads(answer.body)["headers"]}
    assert seen["x-authd-user"] == "machine:jobs/shop/main"
    assert "cf-access-authenticated-user-email" not in seen
    assert "authorization" not in seen, "the application could go on with it at another one"
    certs = site.stack.browser().request(site.stack.url(TEAM, "/cdn-cgi/access/certs")).json()
    keys = {key.key_id: key.key for key in jwt.PyJWKSet.from_dict(certs).keys}
    shown = seen["cf-access-jwt-assertion"]
    issuer = f"https://{TEAM}:{site.stack.port}"
    key = keys[jwt.get_unverified_header(shown)["kid"]]
    claims = jwt.decode(shown, key, algorithms=["RS256"], audience=AUD, issuer=issuer)
    assert (claims["type"], claims["common_name"], claims["sub"]) == ("app", "jobs/shop/main", "")


def test_j29_nginx_gives_no_decision_to_another_token(site: Site) -> None:
    """All within the second for which a decision is remembered, on two workers."""
    good = site.sign()
    header, payload, signature = good.split(".")
    other, forged, old = site.sign(ref="evil"), f"{header}.{payload}.{signature[:-6]}AAAAAA", site.sign(exp=1)
    before = site.stack.application.count
    for _ in range(6):
        assert site.call(good).status == 200
        assert site.call(other).status == 403
        assert site.call(forged).status == 401
        assert site.call(old).status == 401
        assert site.call().status == 302
    assert site.stack.application.count == before + 6


def test_a_machine_is_told_what_is_wrong_and_never_sent_to_a_login(site: Site) -> None:
    for token in (site.sign(aud="another"), site.sign(nonce="of a login"), site.sign("stranger", "provider-1")):
        for accept in ("*/*", "text/html"):
            answer = site.call(token, ("Accept", accept)) if accept != "*/*" else site.call(token)
            assert (answer.status, answer.json()["error"]) == (401, "invalid_token")
            assert answer.get_all("Location") == []
            assert answer.get_all("Set-Cookie") == []


def test_somebody_else_s_authorization_is_the_application_s_business(site: Site) -> None:
    """Alice is logged in and calls an API of the application with its own token."""
    alice = site.stack.log_in(site.stack.url("wiki.test"), "alice")
    for value in ("Basic YTpi", "Bearer opaque", f"Bearer {site.sign(iss='https://other.example')}", "Bearer a.b.c"):
        answer = alice.request(site.stack.url("wiki.test"), headers=[("Authorization", value), ("Accept", "*/*")])
        assert answer.status == 200
        seen = {name.lower(): value for name, value in json.loads(answer.body)["headers"]}
        assert seen["authorization"] == value


def test_f13_a_rotation_of_the_issuer_s_keys_fails_no_job(site: Site) -> None:
    assert site.call(site.sign()).status == 200
    site.issuer.rotate()
    answers = [site.call(site.sign("provider-2")).status for _ in range(20)]
    assert answers == [200] * 20, site.stack.log_text[-3000:]


def test_an_issuer_that_a_reload_adds_or_takes_away_counts_or_no_longer(site: Site) -> None:
    token = site.sign(site.issuer.key_names[0])
    assert site.call(token).status == 200
    settings = site.stack.config["token_issuers"]
    site.stack.write_config(token_issuers=[settings[0] | {"audiences": ["nobody"]}])
    site.stack.reload()
    try:
        wait_until(lambda: all(site.call(token).status == 401 for _ in range(6)), "refused by both workers")
    finally:
        site.stack.write_config(token_issuers=settings)
        site.stack.reload()
    wait_until(lambda: all(site.call(token).status == 200 for _ in range(6)), "let in by both workers")


def test_no_token_is_in_the_log(site: Site) -> None:
    token = site.sign(site.issuer.key_names[0])
    site.call(token)
    site.call(token[:-6] + "AAAAAA")
    log = site.stack.log_text
    assert "jobs/shop/main" in log
    assert not any(part in log for part in token.split(".")[1:])


def test_f14_a_flood_of_unknown_keys_asks_the_issuer_twice_at_most_and_delays_nobody(site: Site) -> None:
    good, strange = site.sign(site.issuer.key_names[0]), site.sign("stranger")
    assert site.call(good).status == 200
    before = site.issuer.counts["/jwks"]
    with ThreadPoolExecutor(16) as pool:
        flood = [pool.submit(site.call, site.sign("stranger", f"key-{number}")) for number in range(300)]
        seconds = []
        while not all(each.done() for each in flood):
            began = time.monotonic()
            # Another path and another token each time: nothing is answered from nginx' cache.
            assert site.call(site.sign(site.issuer.key_names[0], jti=str(began))).status == 200
            seconds.append(time.monotonic() - began)
    assert {each.result().status for each in flood} == {401}
    assert site.call(strange).status == 401
    assert site.issuer.counts["/jwks"] - before <= 2
    assert statistics.median(seconds) < 1, seconds
