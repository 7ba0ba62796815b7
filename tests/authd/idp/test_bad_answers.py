"""F10 to F12: a provider that is down, slow, dripping or spoiled costs its own logins five seconds."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from authd.config import OidcConfig
from authd.errors import ProviderLiedError, ProviderUnavailableError
from authd.idp import OidcProvider
from tests.authd.idp.logins import log_in, log_in_again, make_settings, until, visit
from tests.idp_misbehaviours import ENDPOINTS, KINDS
from tests.idp_server import FakeProvider, running_provider

DEADLINE_SECONDS = 1.0
CAUSES = {
    "html-200": "malformed",
    "404": "http_status",
    "50mb": "too_large",
    "redirect": "http_status",
    "array": "malformed",
    "empty": "malformed",
    "gzip": "compressed",
    "500": "http_status",
    "cut": "unreachable",
}
OUTAGES = {"500", "cut"}
SLOW = ("slow", "drip", "drip-headers")
MALFORMED = {
    "discovery": "metadata_invalid",
    "jwks": "key_set_invalid",
    "token": "malformed",
    "userinfo": "userinfo_malformed",
}

StartWorker = Callable[..., OidcProvider]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in SLOW])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_a_spoiled_answer_ends_the_login_and_the_next_one_succeeds(
    idp: FakeProvider, worker: OidcProvider, endpoint: str, kind: str
) -> None:
    idp.misbehave = {f"{endpoint}-{kind}", "scope-userinfo-claims"}
    with pytest.raises(ProviderUnavailableError if kind in OUTAGES else ProviderLiedError) as refusal:
        await log_in(worker)
    cause = CAUSES[kind]
    assert refusal.value.cause == (MALFORMED[endpoint] if cause == "malformed" else cause)
    idp.misbehave = set()
    assert (await log_in(worker)).email == "alice@example.com"


async def test_a_slow_answer_ends_in_time_and_the_next_login_succeeds(start_worker: StartWorker) -> None:
    """Every endpoint in every way of being slow; all at once, since each takes its time."""
    with contextlib.ExitStack() as stack:
        slow = []
        for name in (f"{endpoint}-{kind}" for endpoint in ENDPOINTS for kind in SLOW):
            idp = stack.enter_context(running_provider())
            idp.misbehave = {name, "scope-userinfo-claims"}
            worker = start_worker(make_settings(idp.issuer, id=name), deadline_seconds=DEADLINE_SECONDS)
            slow.append((idp, worker))
        await asyncio.gather(*(_time_out(worker) for _, worker in slow))
        for idp, worker in slow:
            idp.misbehave = set()
            assert (await log_in_again(worker)).email == "alice@example.com"


async def _time_out(worker: OidcProvider) -> None:
    began = time.monotonic()
    with pytest.raises(ProviderUnavailableError) as outage:
        await log_in(worker)
    # `begin` and `finish` have a deadline each; the rest is for a busy machine. The provider takes 20 and more.
    assert time.monotonic() - began < 2 * DEADLINE_SECONDS + 8
    assert outage.value.cause == "timeout"


async def test_two_calls_that_are_in_time_can_be_too_late_together(
    idp: FakeProvider, settings: OidcConfig, start_worker: StartWorker
) -> None:
    worker = start_worker(settings, deadline_seconds=DEADLINE_SECONDS)
    idp.misbehave = {"scope-userinfo-claims"}
    idp.delays = {"token": 0.6 * DEADLINE_SECONDS, "userinfo": 0.6 * DEADLINE_SECONDS}
    with pytest.raises(ProviderUnavailableError, match="the whole login took longer than 1 seconds"):
        await log_in(worker)


async def test_a_redirect_is_never_followed(idp: FakeProvider, worker: OidcProvider) -> None:
    idp.misbehave = {"jwks-redirect"}
    with running_provider() as elsewhere:
        with pytest.raises(ProviderLiedError, match="HTTP 302"):
            await log_in(worker)
        assert not elsewhere.counts


async def test_no_thread_stays_behind_a_dripping_server(
    idp: FakeProvider, settings: OidcConfig, start_worker: StartWorker
) -> None:
    """More logins than threads, all caught by the drip: had one thread stayed, the last would not end."""
    worker = start_worker(settings, deadline_seconds=DEADLINE_SECONDS)
    await log_in_again(worker)
    idp.misbehave = {"token-drip"}
    for _ in range(2):
        results = await asyncio.gather(*(log_in(worker) for _ in range(40)), return_exceptions=True)
        assert {type(result) for result in results} == {ProviderUnavailableError}
    idp.misbehave = set()
    assert (await log_in_again(worker)).email == "alice@example.com"


@pytest.fixture
def other(start_worker: StartWorker) -> Iterator[OidcProvider]:
    with running_provider() as idp:
        yield start_worker(make_settings(idp.issuer, id="other"))


async def test_a_slow_provider_delays_neither_another_nor_the_event_loop(
    idp: FakeProvider, settings: OidcConfig, start_worker: StartWorker, other: OidcProvider
) -> None:
    slow = start_worker(settings, deadline_seconds=30)
    await log_in(other)
    idp.misbehave = {"discovery-slow"}
    stuck = [asyncio.create_task(log_in(slow)) for _ in range(50)]
    await until(lambda: idp.counts[ENDPOINTS["discovery"]] > 0)
    for _ in range(3):
        await log_in(other)
    assert not any(task.done() for task in stuck)
    assert idp.counts[ENDPOINTS["discovery"]] == 1, "fifty who ask for one document ask once"
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)


async def test_a_visitor_who_leaves_takes_nobody_with_them(
    idp: FakeProvider, settings: OidcConfig, start_worker: StartWorker
) -> None:
    worker = start_worker(settings)
    first = asyncio.create_task(log_in(worker))
    second = asyncio.create_task(log_in(worker))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).email == "alice@example.com"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_mix_up_between_two_providers_is_noticed_before_the_code_leaves(
    idp: FakeProvider, worker: OidcProvider, other: OidcProvider
) -> None:
    """The visitor began at one, and the callback brings the code of another (RFC 9207 2.4)."""
    url = await worker.begin(state="s", nonce="n", code_verifier="v" * 43, prompt=None)
    query = await asyncio.to_thread(visit, url)
    with pytest.raises(ProviderLiedError) as lie:
        await other.finish(query, nonce="n", code_verifier="v" * 43)
    assert lie.value.cause == "callback_issuer"
    assert idp.counts["/token"] == 0
    assert (await worker.finish(query, nonce="n", code_verifier="v" * 43)).identity.provider_id == "corp"
