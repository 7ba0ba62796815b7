"""A login as login.py and a browser do it, against the provider of `tests.idp_server`."""

from __future__ import annotations

import asyncio
import http.client
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from authd.config import OidcConfig
from authd.errors import ProviderUnavailableError
from authd.idp import OidcProvider, SharedKeySets
from authd.model import Identity, Vouched
from tests.idp_server import CLIENT_ID, CLIENT_SECRET, FakeProvider

REDIRECT_URI = "https://auth.example.com/cdn-cgi/access/callback"


def make_settings(issuer: str, **members: Any) -> OidcConfig:
    """An entry of `identity_providers` as the configuration file would give it."""
    defaults = {"id": "corp", "type": "oidc", "client_id": CLIENT_ID, "claims": ["department"]}
    return OidcConfig.model_validate(defaults | {"issuer": issuer} | members)


def changed(settings: OidcConfig, **members: Any) -> OidcConfig:
    return settings.model_copy(update=members)


@dataclass
class RefetchBudget:
    """Once in 30 seconds for each provider, as the store does it for all workers."""

    timer: Callable[[], float] = time.monotonic
    asked: Counter[str] = field(default_factory=Counter)
    _next_at: dict[str, float] = field(default_factory=dict)

    async def __call__(self, provider_id: str) -> bool:
        self.asked[provider_id] += 1
        await asyncio.sleep(0)
        if self.timer() < self._next_at.get(provider_id, float("-inf")):
            return False
        self._next_at[provider_id] = self.timer() + 30
        return True


class SharedPlace:
    """What the store is to the workers of one machine."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}

    async def find(self, issuer: str, /) -> bytes | None:
        return self.documents.get(issuer)

    async def leave(self, issuer: str, document: bytes, /) -> None:
        self.documents[issuer] = document


def make_worker(
    settings: OidcConfig,
    *,
    client_secret: str | None = CLIENT_SECRET,
    clock: Callable[[], float] = time.time,
    timer: Callable[[], float] = time.monotonic,
    may_refetch: Callable[[str], Any] | None = None,
    shared: SharedKeySets | None = None,
    deadline_seconds: float = 5.0,
) -> OidcProvider:
    return OidcProvider(
        settings,
        client_secret=client_secret,
        redirect_uri=REDIRECT_URI,
        clock=clock,
        may_refetch=may_refetch or RefetchBudget(timer),
        shared_key_sets=shared,
        timer=timer,
        deadline_seconds=deadline_seconds,
    )


async def log_in(worker: OidcProvider) -> Identity:
    return (await log_in_whole(worker)).identity


async def log_in_whole(worker: OidcProvider) -> Vouched:
    nonce, verifier = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
    url = await worker.begin(state="state", nonce=nonce, code_verifier=verifier, prompt=None)
    query = await asyncio.to_thread(visit, url)
    return await worker.finish(query, nonce=nonce, code_verifier=verifier)


async def log_in_again(worker: OidcProvider) -> Identity:
    """Log in after an outage. Deadlines in tests are short and machines busy: what counts is that it comes back."""
    last_try_at = time.monotonic() + 10
    while True:
        try:
            return await log_in(worker)
        except ProviderUnavailableError:
            if time.monotonic() > last_try_at:
                raise


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens behind our back."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def visit(url: str) -> str:
    """Go to the provider's login page and return the query with which it sends the browser back."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        location = connection.getresponse().headers["Location"]
    finally:
        connection.close()
    address, _, query = location.partition("?")
    assert address == REDIRECT_URI
    return query


def reset(idp: FakeProvider) -> None:
    """Make the provider well-behaved again."""
    idp.misbehave = set()
    idp.claims = {}
    idp.delays = {}
    idp.key_names = idp.key_names[:1]
    idp.counts.clear()
    idp.token_requests.clear()
