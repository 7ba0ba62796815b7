import asyncio

import pytest

from authd.errors import ProviderUnavailableError
from authd.idp.last_good import FRESH_SECONDS, RETRY_SECONDS, USABLE_SECONDS, LastGood


class Source:
    """Hands out 1, 2, 3, ... or fails, when it is let."""

    def __init__(self) -> None:
        self.fetched = 0
        self.failing = False
        self.now = 0.0
        self.failures: list[Exception] = []
        self.kept = LastGood(self.fetch, timer=lambda: self.now, on_failure=self.failures.append)

    async def fetch(self) -> int:
        await asyncio.sleep(0)
        self.fetched += 1
        if self.failing:
            raise ProviderUnavailableError("corp", "timeout", "no answer")
        return self.fetched

    async def get_later(self, seconds: float) -> int:
        """Move the clock, ask, and let what was started behind our back end."""
        self.now += seconds
        document = await self.kept.get()
        await asyncio.sleep(0.01)
        return document


async def test_a_fresh_document_is_not_fetched_again() -> None:
    source = Source()
    assert [await source.get_later(0), await source.get_later(FRESH_SECONDS - 1)] == [1, 1]


async def test_an_old_document_is_given_at_once_and_renewed_behind() -> None:
    source = Source()
    assert [await source.get_later(0), await source.get_later(FRESH_SECONDS), await source.get_later(0)] == [1, 1, 2]


async def test_a_failed_renewal_is_told_and_tried_again_after_a_pause() -> None:
    source = Source()
    await source.get_later(0)
    source.failing = True
    assert await source.get_later(FRESH_SECONDS) == 1
    assert await source.get_later(RETRY_SECONDS - 1) == 1
    assert (source.fetched, len(source.failures)) == (2, 1)
    source.failing = False
    assert [await source.get_later(1), await source.get_later(0)] == [1, 3]


async def test_a_document_of_a_day_ago_is_good_no_more() -> None:
    source = Source()
    await source.get_later(0)
    source.failing = True
    assert await source.get_later(USABLE_SECONDS - 1) == 1
    with pytest.raises(ProviderUnavailableError):
        await source.get_later(1)


async def test_all_who_ask_at_once_share_one_fetch_and_its_failure() -> None:
    source = Source()
    assert await asyncio.gather(*(source.kept.get() for _ in range(50))) == [1] * 50
    source.failing = True
    results = await asyncio.gather(*(source.kept.refresh() for _ in range(50)), return_exceptions=True)
    assert source.fetched == 2
    assert {type(result) for result in results} == {ProviderUnavailableError}
    assert source.kept.peek() == 1


async def test_one_who_leaves_does_not_end_the_fetch_of_the_others() -> None:
    source = Source()
    first, second = asyncio.ensure_future(source.kept.get()), asyncio.ensure_future(source.kept.get())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 1
    assert first.cancelled()


async def test_a_mistake_in_the_background_is_told_like_a_failure() -> None:
    source = Source()

    async def broken() -> int:
        raise ZeroDivisionError

    kept = LastGood(broken, timer=lambda: source.now, on_failure=source.failures.append)
    with pytest.raises(ZeroDivisionError):
        await kept.get()
    assert isinstance(source.failures[0], ZeroDivisionError)
