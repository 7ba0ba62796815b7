"""F13 and F14: a rotation fails nobody's login, and nobody can make us fetch again and again."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from authd.config import OidcConfig
from authd.errors import ProviderLiedError, ProviderUnavailableError, StoreUnavailableError
from authd.idp import OidcProvider
from authd.idp.last_good import FRESH_SECONDS, RETRY_SECONDS, USABLE_SECONDS
from tests.authd.idp.logins import RefetchBudget, SharedPlace, changed, log_in, until
from tests.forge import ec_key, rsa_key
from tests.idp_server import FakeProvider, running_provider

StartWorker = Callable[..., OidcProvider]


class Timer:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module", autouse=True)
def _keys_made_beforehand() -> None:
    """Making an RSA key takes longer than some deadlines here."""
    for number in range(1, 8):
        rsa_key(f"provider-{number}")
    rsa_key("stranger")
    ec_key("stranger")


async def test_signing_key_rotation(idp: FakeProvider, worker: OidcProvider) -> None:
    await log_in(worker)
    idp.rotate(keep_old=True)
    await log_in(worker)
    assert idp.counts["/jwks"] == 2


async def test_signing_key_rotation_just_before_signing(idp: FakeProvider, worker: OidcProvider) -> None:
    await log_in(worker)
    idp.misbehave = {"signing-key-rotation-just-before-signing"}
    await log_in(worker)
    assert idp.counts["/jwks"] == 2


async def test_a_new_key_under_the_old_id_is_found_too(idp: FakeProvider, worker: OidcProvider) -> None:
    """Development providers do this at every restart."""
    idp.misbehave = {"kid-absent-single-jwks"}
    await log_in(worker)
    idp.rotate()
    await log_in(worker)
    assert idp.counts["/jwks"] == 2


async def test_forty_logins_at_once_over_four_workers_survive_a_rotation_with_one_fetch(
    idp: FakeProvider, settings: OidcConfig, start_worker: StartWorker
) -> None:
    budget, shared = RefetchBudget(), SharedPlace()
    workers = [start_worker(settings, may_refetch=budget, shared=shared) for _ in range(4)]
    for worker in workers:
        await log_in(worker)
    fetched = idp.counts["/jwks"]
    idp.rotate()
    await asyncio.gather(*(log_in(worker) for worker in workers * 10))
    assert idp.counts["/jwks"] == fetched + 1


async def test_a_flood_of_unknown_keys_costs_one_fetch_in_30_seconds(
    idp: FakeProvider, settings: OidcConfig, start_worker: StartWorker
) -> None:
    timer = Timer()
    budget, shared = RefetchBudget(timer), SharedPlace()
    workers = [start_worker(settings, timer=timer, may_refetch=budget, shared=shared) for _ in range(2)]
    for worker in workers:
        await log_in(worker)
    fetched = idp.counts["/jwks"]
    idp.misbehave = {"unknown-kid"}
    for flood in (workers * 10, workers[:1]):
        results = await asyncio.gather(*(log_in(worker) for worker in flood), return_exceptions=True)
        assert all(isinstance(result, ProviderLiedError) for result in results)
        assert {result.cause for result in results if isinstance(result, ProviderLiedError)} == {"token_key_unknown"}
        fetched += 1
        assert idp.counts["/jwks"] == fetched
        timer.now += 30


async def test_good_logins_are_not_delayed_by_the_flood(idp: FakeProvider, worker: OidcProvider) -> None:
    await log_in(worker)
    idp.misbehave = {"unknown-kid"}
    flood = [asyncio.create_task(log_in(worker)) for _ in range(20)]
    while idp.counts["/token"] < 21:
        await asyncio.sleep(0.01)
    idp.misbehave = set()
    assert (await log_in(worker)).email == "alice@example.com"
    assert not all(task.done() for task in flood), "the flood is still waiting for another worker's keys"
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)


async def test_a_store_that_cannot_count_refetches_is_an_outage_and_no_permission(
    idp: FakeProvider, settings: OidcConfig, start_worker: StartWorker
) -> None:
    async def no_store(provider_id: str) -> bool:
        raise StoreUnavailableError("the store did not answer")

    worker = start_worker(settings, may_refetch=no_store)
    await log_in(worker)
    idp.rotate()
    with pytest.raises(StoreUnavailableError):
        await log_in(worker)
    assert idp.counts["/jwks"] == 1


async def test_a_place_that_cannot_be_shared_fails_no_login(
    idp: FakeProvider, settings: OidcConfig, start_worker: StartWorker
) -> None:
    class Broken(SharedPlace):
        async def leave(self, issuer: str, document: bytes, /) -> None:
            raise StoreUnavailableError("the store did not answer")

    assert (await log_in(start_worker(settings, shared=Broken()))).email == "alice@example.com"


@pytest.mark.parametrize(
    "misbehaviour",
    [
        "jwks-html-200",
        "jwks-500",
        "jwks-50mb",
        "jwks-redirect",
        "jwks-no-keys",
        "jwks-duplicate-kid",
        "discovery-500",
    ],
)
async def test_the_last_good_keys_serve_a_day_of_bad_answers(
    idp: FakeProvider, settings: OidcConfig, start_worker: StartWorker, misbehaviour: str
) -> None:
    timer = Timer()
    worker = start_worker(settings, timer=timer)
    await log_in(worker)
    idp.misbehave = {misbehaviour}
    for age_seconds in (FRESH_SECONDS + 1, USABLE_SECONDS - 1):
        timer.now = 1000.0 + age_seconds
        assert (await log_in(worker)).email == "alice@example.com"
    await until(lambda: idp.counts["/jwks"] + idp.counts["/.well-known/openid-configuration"] >= 3)
    timer.now = 1000.0 + USABLE_SECONDS
    with pytest.raises((ProviderLiedError, ProviderUnavailableError)):
        await log_in(worker)
    idp.misbehave = set()
    assert (await log_in(worker)).email == "alice@example.com"


async def test_an_hour_old_key_set_is_renewed_behind_the_visitors_back(
    idp: FakeProvider, settings: OidcConfig, start_worker: StartWorker, caplog: pytest.LogCaptureFixture
) -> None:
    timer = Timer()
    worker = start_worker(settings, timer=timer)
    await log_in(worker)
    timer.now += FRESH_SECONDS
    idp.misbehave = {"jwks-500"}
    await log_in(worker)
    await until(lambda: "provider.key_set_not_renewed" in caplog.messages)
    idp.misbehave = set()
    await log_in(worker)
    assert idp.counts["/jwks"] == 2, "a failed renewal is not tried again at once"
    timer.now += RETRY_SECONDS
    await log_in(worker)
    await until(lambda: idp.counts["/jwks"] == 3)


async def test_keys_that_were_shared_for_one_issuer_sign_for_no_other(
    idp: FakeProvider, settings: OidcConfig, start_worker: StartWorker
) -> None:
    """The entry `corp` comes to mean another provider, and the old one signs in the new one's name."""

    async def another_worker_does(provider_id: str) -> bool:
        return False

    shared = SharedPlace()
    idp.rotate()
    with running_provider() as successor:
        now_meant = changed(settings, issuer=successor.issuer)
        worker = start_worker(now_meant, shared=shared, may_refetch=another_worker_does)
        await log_in(worker)
        # A worker that has not reloaded yet leaves the old provider's keys.
        await log_in(start_worker(settings, shared=shared))
        successor.key_names = idp.key_names
        with pytest.raises(ProviderLiedError) as lie:
            await log_in(worker)
    assert lie.value.cause == "token_key_unknown"


async def test_keys_that_we_cannot_use_are_told_and_do_no_harm(
    idp: FakeProvider, worker: OidcProvider, caplog: pytest.LogCaptureFixture
) -> None:
    idp.misbehave = {"jwks-with-unknown-kinds"}
    with caplog.at_level(logging.INFO, "authd"):
        await log_in(worker)
    told = [record.fields["reason"] for record in caplog.records]  # type: ignore[attr-defined]
    assert told == [f"key {number} is of a kind that we do not know" for number in (1, 2, 3)]
