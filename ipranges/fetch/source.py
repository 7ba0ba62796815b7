"""One source: its attempts in their order, until one of them gives a list that holds."""

from __future__ import annotations

from dataclasses import dataclass

from ipranges.errors import FetchError, IprangesError, RefusedError
from ipranges.fetch.http import Fetched, Fetcher
from ipranges.fetch.signature import SUFFIX, verify_signature
from ipranges.model import Edition, SourceMemory, Validators
from ipranges.sources import Attempt, Discovery, Provider
from ipranges.validate import verify_edition

# A conditional request rests on the server's word alone; once a day the bytes are asked for whatever it says.
UNCONDITIONAL_AFTER_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class FetchedEdition:
    """What came back. `edition` is the remembered one where the server answered 304.

    `detours` are the sentences of the attempts that failed before.
    """

    edition: Edition
    validators: Validators | None
    detours: tuple[str, ...] = ()


def fetch_source(provider: Provider, fetcher: Fetcher, memory: SourceMemory, *, now: int) -> FetchedEdition:
    """A verified edition; raises FetchError or RefusedError with one sentence for every attempt.

    NOT checked: how far it differs from the last one; `validate.judge` does that.
    """
    if provider.fixed:
        edition = verify_edition(provider.fixed, provider.limits, url="", fetched_at=now)
        return FetchedEdition(edition, None)
    failures: list[IprangesError] = []
    for attempt in provider.attempts:
        try:
            fetched = _fetch_attempt(attempt, provider, fetcher, memory, now)
        except (FetchError, RefusedError) as error:
            failures.append(error)
            continue
        return FetchedEdition(fetched.edition, fetched.validators, tuple(map(str, failures)))
    # One that was refused tells more than one that did not answer.
    kind = RefusedError if any(isinstance(error, RefusedError) for error in failures) else FetchError
    raise kind("; ".join(map(str, failures)))


def _fetch_attempt(
    attempt: Attempt, provider: Provider, fetcher: Fetcher, memory: SourceMemory, now: int
) -> FetchedEdition:
    urls = attempt.urls if attempt.discovery is None else (_discover(attempt.discovery, fetcher),)
    sent = _choose_validators(urls, memory, now)
    answers = [fetcher.fetch(url, accept=attempt.accept, validators=sent) for url in urls]
    if answers[0].body is None and memory.current is not None:
        return FetchedEdition(memory.current, sent)
    try:
        if provider.public_key:
            for url, answer in zip(urls, answers, strict=True):
                signature = fetcher.fetch(url + SUFFIX, accept="*/*").body or b""
                verify_signature(provider.public_key, answer.body or b"", signature)
        said = attempt.parse([answer.body or b"" for answer in answers])
        edition = verify_edition(
            said.tokens,
            provider.limits,
            url=urls[0],
            fetched_at=now,
            version=said.version,
            serial=said.serial,
        )
    except RefusedError as error:
        raise RefusedError(f"{urls[0]}: {error}") from None
    return FetchedEdition(edition, _keep_validators(urls, answers[0], now))


def _choose_validators(urls: tuple[str, ...], memory: SourceMemory, now: int) -> Validators | None:
    kept = memory.validators
    if len(urls) != 1 or kept is None or memory.current is None or kept.url != urls[0]:
        return None
    return kept if 0 <= now - kept.fetched_at < UNCONDITIONAL_AFTER_SECONDS else None


def _keep_validators(urls: tuple[str, ...], answer: Fetched, now: int) -> Validators | None:
    if len(urls) != 1 or not (answer.etag or answer.last_modified):
        return None
    return Validators(urls[0], answer.etag[:200], answer.last_modified[:100], now)


def _discover(discovery: Discovery, fetcher: Fetcher) -> str:
    """The one address that a page names. The pattern pins host and form, so no other site can be named."""
    answer = fetcher.fetch(discovery.page, accept="text/html")
    found = set(discovery.link.findall((answer.body or b"").decode("utf-8", "replace")))
    if len(found) != 1:
        raise FetchError(f"{discovery.page}: names {len(found)} lists, not one")
    return str(found.pop())
