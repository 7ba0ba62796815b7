"""A refresh at the provider of `tests.idp_server`, which replaces the token each time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from authd.errors import ProviderError, ProviderRefusedError, ProviderUnavailableError
from authd.idp import OidcProvider
from tests.authd.idp.logins import log_in
from tests.idp_server import FakeProvider


async def test_what_has_changed_is_told_and_what_the_login_proved_stays(
    idp: FakeProvider, worker: OidcProvider
) -> None:
    identity = replace(await log_in(worker), authenticated_at=1)
    idp.claims = {"groups": ["admins"], "amr": None}

    vouched = await worker.refresh(identity, "first")

    assert vouched.identity == replace(identity, groups=("admins",))
    assert vouched.refresh_token == "first+"


async def test_a_refresh_about_somebody_else_says_so(idp: FakeProvider, worker: OidcProvider) -> None:
    identity = await log_in(worker)
    # Its ID token lacks claims, so that userinfo would be asked as well.
    idp.claims = {"sub": "bob-2", "department": None}

    with pytest.raises(ProviderRefusedError) as caught:
        await worker.refresh(identity, "first")

    assert caught.value.cause == "other_subject"


@pytest.mark.parametrize("misbehaviour", ["userinfo-invalid-sub", "invalid-iss", "invalid-aud"])
async def test_a_token_that_was_replaced_is_not_lost_with_the_answer(
    idp: FakeProvider, worker: OidcProvider, misbehaviour: str
) -> None:
    identity = await log_in(worker)
    idp.claims = {"department": None}
    idp.misbehave = {misbehaviour}

    with pytest.raises(ProviderError) as caught:
        await worker.refresh(identity, "first")

    assert caught.value.replaced_token == "first+"
    assert "first" not in str(caught.value)


async def test_before_an_answer_nothing_was_replaced(idp: FakeProvider, worker: OidcProvider) -> None:
    identity = await log_in(worker)
    idp.misbehave = {"token-500"}

    with pytest.raises(ProviderError) as caught:
        await worker.refresh(identity, "first")

    assert caught.value.replaced_token is None
    assert isinstance(caught.value, ProviderUnavailableError)
