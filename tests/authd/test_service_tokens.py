"""Service tokens: what is kept of them, what lets a machine in, and what an operator changes beside running workers."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import jwt
import pytest

from authd.access import Verdict
from authd.errors import ServiceTokenChangeError, TokenError
from authd.model import Outcome, Reason
from authd.sealing import Sealer
from authd.service_token_changes import NewSecret, ServiceTokenChanges
from authd.service_tokens import MOST_WRONG, ServiceTokens
from authd.state.service_token_rows import ServiceTokenRows
from tests.authd.house import CONFIG, NOW, SECRET, House, make_request, with_cookie

HERE, ELSEWHERE = ip_address("192.0.2.1"), ip_address("198.51.100.7")
APPLICATIONS = """
  - id: backup
    domains: [backup.example.com]
    read_service_tokens_from_header: Authorization
    policies:
      - {name: Never here, decision: deny, include: [{everyone: true}]}
      - {name: Nightly, decision: non_identity, include: [{service_token: %s}]}
  - id: any
    domains: [any.example.com]
    policies: [{name: Any, decision: non_identity, include: [{any_valid_service_token: true}]}]
"""


@pytest.fixture
def rows(house: House) -> ServiceTokenRows:
    return ServiceTokenRows(house.store, house.sealer, on_broken=lambda kind: None)


@pytest.fixture
def changes(house: House, rows: ServiceTokenRows) -> ServiceTokenChanges:
    return ServiceTokenChanges(rows, house.clock)


@pytest.fixture
async def made(house: House, changes: ServiceTokenChanges) -> NewSecret:
    made = await changes.create("nightly backup", duration_seconds=86400)
    house.load(CONFIG + APPLICATIONS % made.token.client_id)
    return made


def headers_of(made: NewSecret, **others: Any) -> dict[str, Any]:
    return {"client_id": made.token.client_id, "client_secret": made.secret} | others


async def check(house: House, host: str, **changes: Any) -> Verdict:
    return await house.access.check(make_request(f"https://{host}.example.com/", **changes))


async def follow(house: House, workers: ServiceTokens) -> None:
    """What the worker's poll does."""
    for tombstone in await house.store.tombstones_since(0):
        if tombstone.kind == "service_token_changed":
            workers.follow(tombstone.id)


async def test_a_machine_gets_in_where_a_policy_names_it_and_the_application_is_told(
    house: House, made: NewSecret
) -> None:
    verdict = await check(house, "backup", **headers_of(made))

    assert (verdict.decision.outcome, verdict.decision.policy_name) == (Outcome.ALLOW, "Nightly")
    token = verdict.credential.token
    assert token is not None
    claims = jwt.decode(token, options={"verify_signature": False})
    aud = house.index.get_application("backup").aud
    assert claims == {
        "aud": aud,
        "exp": NOW + 86400,
        "iat": NOW,
        "iss": "https://auth.example.com",
        "type": "app",
        "common_name": made.token.client_id,
        "sub": "",
    }
    assert (await check(house, "backup", **headers_of(made))).credential.token == token, "signed once"
    assert house.access.still_holds(verdict)
    assert verdict.is_cacheable


async def test_what_the_application_is_shown_is_never_taken_back(house: House, made: NewSecret) -> None:
    token = (await check(house, "backup", **headers_of(made))).credential.token or ""

    for way in (
        {"access_token": token},
        {"authorization": f"Bearer {token}"},
        with_cookie(token),
        {"assertion": token},
    ):
        assert (await check(house, "backup", **way)).decision.outcome is not Outcome.ALLOW


async def test_only_non_identity_counts_and_a_good_cookie_does_not(house: House, made: NewSecret) -> None:
    session, cookie = await house.open_session()
    wrong = headers_of(made, client_secret="0" * 64)

    assert (await check(house, "grafana", **with_cookie(cookie))).session == session
    for application, headers, outcome, reason in (
        ("grafana", headers_of(made), Outcome.DENY, Reason.NO_POLICY_MATCHED),
        ("grafana", wrong, Outcome.LOGIN, Reason.SERVICE_TOKEN_INVALID),
        ("any", headers_of(made), Outcome.ALLOW, Reason.POLICY_ALLOW),
        ("any", wrong, Outcome.LOGIN, Reason.SERVICE_TOKEN_INVALID),
        ("public", wrong, Outcome.BYPASS, Reason.POLICY_BYPASS),
    ):
        decision = (await check(house, application, **headers, **with_cookie(cookie))).decision
        assert (decision.outcome, decision.reason) == (outcome, reason)


@pytest.mark.parametrize(
    "change",
    [
        {"client_secret": ""},
        {"client_id": ""},
        {"client_id": "0123456789abcdef0123456789abcdef"},
        {"client_secret": "x" * 257},
        {"credential_header": '{"cf-access-client-id": "other", "cf-access-client-secret": "other"}'},
        {"credential_header": '{"cf-access-client-id": 1}'},
    ],
)
async def test_half_doubled_and_contradicting_credentials_are_refused(
    house: House, made: NewSecret, change: dict[str, str]
) -> None:
    verdict = await check(house, "backup", **headers_of(made, **change))

    assert (verdict.decision.outcome, verdict.decision.reason) == (Outcome.LOGIN, Reason.SERVICE_TOKEN_MALFORMED)


async def test_one_header_may_carry_both_where_the_application_says_so(house: House, made: NewSecret) -> None:
    text = f'{{"cf-access-client-id": "{made.token.client_id}", "CF-Access-Client-Secret": "{made.secret}"}}'

    assert (await check(house, "backup", credential_header=text)).decision.outcome is Outcome.ALLOW
    assert (await check(house, "any", credential_header=text)).decision.outcome is Outcome.DENY
    other = await check(house, "backup", credential_header="Basic dXNlcjpwYXNz")
    assert other.decision.reason is Reason.POLICY_DENY


async def test_each_change_counts_on_every_worker_with_the_next_poll(
    house: House, made: NewSecret, changes: ServiceTokenChanges, rows: ServiceTokenRows
) -> None:
    worker = ServiceTokens(rows, clock=house.clock)
    client_id, name = made.token.client_id, made.token.name

    async def ask(secret: str = made.secret) -> str:
        await follow(house, worker)
        try:
            await worker.verify(client_id, secret, HERE)
        except TokenError as error:
            return error.code.removeprefix("service_token_")
        return "in"

    assert await ask() == "in"
    await changes.enable(name, is_enabled=False)
    assert await ask() == "disabled"
    await changes.enable(client_id, is_enabled=True)
    assert await ask() == "in"
    rotated = await changes.rotate(name, keep_previous_seconds=3600)
    assert (await ask(), await ask(rotated.secret)) == ("in", "in")
    house.clock.now = NOW + 3600
    assert (await ask(), await ask(rotated.secret)) == ("expired", "in")
    house.clock.now = NOW + 86400
    assert await ask(rotated.secret) == "expired"
    await changes.extend(name, duration_seconds=60)
    assert await ask(rotated.secret) == "in"
    at_once = await changes.rotate(name, keep_previous_seconds=0)
    assert (await ask(rotated.secret), await ask(at_once.secret)) == ("invalid", "in")
    await changes.delete(name)
    assert await ask(at_once.secret) == "invalid"


async def test_names_that_are_none_or_several_are_refused(made: NewSecret, changes: ServiceTokenChanges) -> None:
    await changes.create(made.token.name, duration_seconds=60)

    with pytest.raises(ServiceTokenChangeError, match="2 service tokens are called"):
        await changes.delete(made.token.name)
    with pytest.raises(ServiceTokenChangeError, match="no service token is called"):
        await changes.rotate("nobody", keep_previous_seconds=0)
    assert len(await changes.list()) == 2


async def test_the_last_use_is_noted_once_a_minute(house: House, made: NewSecret, changes: ServiceTokenChanges) -> None:
    assert [used_at for _, used_at in await changes.list()] == [None]
    for second in (0, 30, 59):
        house.clock.now = NOW + second
        await check(house, "backup", **headers_of(made))
        await house.service_tokens.flush()
        assert [used_at for _, used_at in await changes.list()] == [NOW]
    house.clock.now = NOW + 61
    await check(house, "backup", **headers_of(made))
    await house.service_tokens.flush()
    assert [used_at for _, used_at in await changes.list()] == [NOW + 61]


async def test_guesses_lock_out_their_own_address_alone_and_nobody_who_was_seen(
    house: House, made: NewSecret, rows: ServiceTokenRows
) -> None:
    worker = ServiceTokens(rows, clock=house.clock)
    seen = await worker.verify(made.token.client_id, made.secret, HERE)
    for number in range(MOST_WRONG):
        with pytest.raises(TokenError, match="no service token"):
            await worker.verify(made.token.client_id, f"guess {number}", HERE)

    with pytest.raises(TokenError, match="too many"):
        await worker.verify(made.token.client_id, "one more", HERE)
    assert await worker.verify(made.token.client_id, made.secret, HERE) == seen
    fresh = ServiceTokens(rows, clock=house.clock)
    assert await fresh.verify(made.token.client_id, made.secret, ELSEWHERE)
    house.clock.now = NOW + 61
    with pytest.raises(TokenError, match="no service token"):
        await worker.verify(made.token.client_id, "one more", HERE)


async def test_nothing_in_the_store_is_the_secret_and_any_line_of_the_secret_file_verifies(
    house: House, made: NewSecret
) -> None:
    assert made.secret.encode() not in (house.directory / "authd.db-wal").read_bytes()
    assert bytes.fromhex(made.secret) not in (house.directory / "authd.db-wal").read_bytes()
    rotated = ServiceTokenRows(house.store, Sealer([b"n" * 32, SECRET]), on_broken=lambda kind: None)
    assert await ServiceTokens(rotated, clock=house.clock).verify(made.token.client_id, made.secret, HERE)
    broken: list[str] = []
    foreign = ServiceTokenRows(house.store, Sealer([b"n" * 32]), on_broken=broken.append)
    with pytest.raises(TokenError):
        await ServiceTokens(foreign, clock=house.clock).verify(made.token.client_id, made.secret, HERE)
    assert broken == ["service_token"]


async def test_a_row_moved_to_another_id_lets_nobody_in(house: House, made: NewSecret) -> None:
    row = await house.store.find("service_token", made.token.client_id, now=NOW)
    other = "f" * 32 + ".access"
    await house.store.put("service_token", other, row or b"", expires_at=2**53)

    with pytest.raises(TokenError):
        await house.service_tokens.verify(other, made.secret, HERE)
