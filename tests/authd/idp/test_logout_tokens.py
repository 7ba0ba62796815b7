"""Logout tokens (OpenID Connect Back-Channel Logout 1.0, 2.6): signed by the provider, for us, and for nothing else.

The cases are those of the OpenID conformance suite's `oidcc-client-test-rp-backchannel-*`, and what posed as another
kind of token (attacks.md J25).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from authd.errors import ProviderLiedError
from authd.idp import OidcProvider
from authd.idp.identities import derive_subject
from authd.model import LogoutToken
from tests.authd.idp.logins import log_in
from tests.forge import forge_token, rsa_key
from tests.idp_server import CLIENT_ID, CLIENT_SECRET, FakeProvider

EVENT = "http://schemas.openid.net/event/backchannel-logout"
Claims = dict[str, Any]


def make_claims(idp: FakeProvider, **changes: Any) -> Claims:
    now = int(time.time())
    claims: Claims = {
        "iss": idp.issuer,
        "aud": CLIENT_ID,
        "iat": now,
        "exp": now + 120,
        "jti": "jti-1",
        "sub": "alice-1",
        "sid": "sid-1",
        "events": {EVENT: {}},
    }
    return {name: value for name, value in (claims | changes).items() if value is not None}


def sign(idp: FakeProvider, claims: Claims, **header: Any) -> str:
    key_name = idp.key_names[0]
    members = {"alg": "RS256", "typ": "logout+jwt", "kid": key_name} | header
    members = {name: value for name, value in members.items() if value is not None}
    return forge_token(members, claims, rsa_key(key_name), "RS256")


@pytest.mark.parametrize("kind", ["logout+jwt", "application/logout+jwt", "Logout+JWT", "JWT", None])
async def test_a_good_one_names_whom_it_is_about(idp: FakeProvider, worker: OidcProvider, kind: str | None) -> None:
    claims = make_claims(idp)

    found = await worker.read_logout_token(sign(idp, claims, typ=kind))

    assert found is not None
    assert (found.id, found.session_id) == ("jti-1", "sid-1")
    assert found.subject == derive_subject(idp.issuer, "alice-1")
    assert found.expires_at >= claims["exp"]


@pytest.mark.parametrize("missing", ["sub", "sid", "exp"])
async def test_one_of_subject_and_session_is_enough(idp: FakeProvider, worker: OidcProvider, missing: str) -> None:
    found = await worker.read_logout_token(sign(idp, make_claims(idp, **{missing: None})))

    assert isinstance(found, LogoutToken)
    assert (found.subject == "", found.session_id == "") == (missing == "sub", missing == "sid")


WRONG: dict[str, Callable[[FakeProvider], Claims]] = {
    "no event": lambda idp: make_claims(idp, events=None),
    "another event": lambda idp: make_claims(idp, events={"http://schemas.openid.net/event/other": {}}),
    "an event that is no object": lambda idp: make_claims(idp, events={EVENT: "yes"}),
    "a list of events": lambda idp: make_claims(idp, events=[EVENT]),
    "a nonce": lambda idp: make_claims(idp, nonce="n"),
    "another audience": lambda idp: make_claims(idp, aud="another-client"),
    "several audiences without azp": lambda idp: make_claims(idp, aud=[CLIENT_ID, "another-client"]),
    "no audience": lambda idp: make_claims(idp, aud=None),
    "nobody": lambda idp: make_claims(idp, sub=None, sid=None),
    "no id": lambda idp: make_claims(idp, jti=None),
    "an empty id": lambda idp: make_claims(idp, jti=""),
    "a subject that is no text": lambda idp: make_claims(idp, sub=1),
    "an endless session": lambda idp: make_claims(idp, sid="x" * 300),
    "no time": lambda idp: make_claims(idp, iat=None),
    "a time of before": lambda idp: make_claims(idp, exp=int(time.time()) - 120),
    "a time to come": lambda idp: make_claims(idp, iat=int(time.time()) + 300),
    "an old one without an end": lambda idp: make_claims(idp, iat=int(time.time()) - 300, exp=None),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_wrong_with_the_claims_refuses_it(idp: FakeProvider, worker: OidcProvider, name: str) -> None:
    with pytest.raises(ProviderLiedError):
        await worker.read_logout_token(sign(idp, WRONG[name](idp)))


async def test_what_the_provider_did_not_sign_is_refused(idp: FakeProvider, worker: OidcProvider) -> None:
    claims, key_name = make_claims(idp), idp.key_names[0]
    good = sign(idp, claims)
    stranger = forge_token({"alg": "RS256", "kid": key_name}, claims, rsa_key("a stranger"), "RS256")
    with_secret = forge_token({"alg": "HS256", "kid": key_name}, claims, CLIENT_SECRET.encode(), "HS256")
    for text in (
        stranger,
        with_secret,
        sign(idp, claims, typ="at+jwt"),
        good[:-8] + "AAAAAAAA",
        sign(idp, claims, alg="none"),
    ):
        with pytest.raises(ProviderLiedError):
            await worker.read_logout_token(text)
    for text in ("", "nonsense", "a.b.c", good * 200, sign(idp, make_claims(idp, iss="https://other.example"))):
        assert await worker.read_logout_token(text) is None, "not this provider's to refuse"


async def test_a_token_of_one_kind_is_none_of_the_other(idp: FakeProvider, worker: OidcProvider) -> None:
    """J25: an ID token ends no session, and a logout token logs nobody in."""
    now = int(time.time())
    id_token = {"iss": idp.issuer, "aud": CLIENT_ID, "sub": "alice-1", "iat": now, "exp": now + 300, "nonce": "n"}
    with pytest.raises(ProviderLiedError):
        await worker.read_logout_token(sign(idp, id_token, typ="JWT"))

    idp.claims = {"events": {EVENT: {}}}
    with pytest.raises(ProviderLiedError):
        await log_in(worker)
