"""The way to the one server that takes writes now: a fixed one, Sentinel's master, or a Cluster's owner of our slot.

All that authd keeps lies in one hash slot of a Cluster: a session must end and leave its tombstone in one step. So
there is one server to speak to, whichever kind it is, and losing it is the same story: forget it, and ask again who
took its place.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from authd.config.redis_url import RedisUrl
from authd.errors import StoreDamagedError, StoreUnavailableError
from authd.state.base import DEADLINE_SECONDS
from authd.state.redis_followers import Followers
from authd.state.redis_server import Command, RedisServer, load_tls

HASH_TAG = "{authd}"
# Sentinel or a Cluster may need longer to name the master than one call may take; the search goes on meanwhile.
_SEARCH_SECONDS = 2.0
# How long a further answer is waited for, once there is one.
_AGREEMENT_SECONDS = 0.3
# So many calls in a row without an answer, and only one a PAUSE is tried: the others fail at once.
_MOST_FAILURES = 3
_PAUSE_SECONDS = 1.0
# Redis notices that a WAIT is over up to 100 ms late.
_WAIT_MS = 60
_MASTER_HAS_MOVED = (ReadOnlyError, MovedError, AskError, TryAgainError, ClusterDownError, MasterDownError)


class RedisLink:
    """Runs commands on the master within DEADLINE_SECONDS, never twice."""

    def __init__(self, url: RedisUrl, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.shown = url.shown
        self._url = url
        self._monotonic = monotonic
        self._tls: ssl.SSLContext | None = None
        self._master: RedisServer | None = None
        self._search: asyncio.Task[RedisServer] | None = None
        self._followers = Followers(monotonic)
        self._doubt: asyncio.Task[None] | None = None
        self._failures = 0
        self._next_try_at = 0.0
        self._is_closed = False

    async def run(self, *commands: Command) -> list[Any]:
        """Their replies, in order. Raises StoreUnavailableError, or StoreDamagedError for a key of another type."""
        self._refuse_while_silent()
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                master = self._master or await self._find_master()
                replies = await master.run(commands)
        except TimeoutError as error:
            await self._count_failure()
            raise self.unavailable(f"no answer within {DEADLINE_SECONDS} s") from error
        except (RedisError, OSError) as error:
            await self._count_failure(is_lost=True)
            raise self.unavailable(str(error)) from error
        self._failures = 0
        for reply in replies:
            if isinstance(reply, ResponseError):
                await self._refuse(reply)
        return replies

    async def write(self, command: Command) -> Any:
        """The reply, once as many replicas as configured have the write too, and none has just left. Raises as `run`
        does; then it may have been carried out nevertheless, and callers treat it as not acknowledged."""
        if self._url.replicas == 0:
            return (await self.run(command))[0]
        # Of the master that is written to: another may have been found by the time of its answer.
        followers = self._followers
        reply, acknowledged, role = await self.run(command, ("WAIT", self._url.replicas, _WAIT_MS), ("ROLE",))
        followers.note(role)
        if acknowledged < self._url.replicas:
            raise self.unavailable(f"{acknowledged} of {self._url.replicas} replicas acknowledged the write in time")
        if followers.has_one_just_left:
            raise self.unavailable("a replica has just left the master, and may be taking over from it")
        return reply

    def watch_master(self, role: Any) -> None:
        """Called twice a second with what the master answers to `ROLE`. Where replicas have left it, ask in the
        background whether another one is named by now: it takes itself for the master for ten seconds more."""
        self._followers.note(role)
        is_doubtful = self._followers.has_one_just_left or self._followers.are_fewer_than(self._url.replicas)
        is_asking = self._doubt is not None and not self._doubt.done()
        if is_doubtful and not is_asking and self._url.kind != "single":
            self._doubt = asyncio.create_task(self._leave_replaced_master())

    async def _leave_replaced_master(self) -> None:
        master = self._master
        try:
            async with asyncio.timeout(_SEARCH_SECONDS):
                named = await self._ask_all()
        except (RedisError, OSError, TimeoutError):
            return  # nobody says so
        if master is not None and self._master is master and master.address != named:
            await self.lose_master()

    async def lose_master(self) -> None:
        """Forget which server is the master; the next call asks."""
        master, self._master = self._master, None
        if master is not None:
            await master.close()

    async def close(self) -> None:
        """Let go of every connection. Calls from now on raise StoreUnavailableError."""
        self._is_closed = True
        for task in (self._search, self._doubt):
            if task is not None:
                task.cancel()
        await self.lose_master()

    def unavailable(self, problem: str) -> StoreUnavailableError:
        return StoreUnavailableError(f"{self.shown}: {problem}")

    def _refuse_while_silent(self) -> None:
        if self._is_closed:
            raise self.unavailable("the store is closed")
        if self._failures < _MOST_FAILURES:
            return
        if self._monotonic() < self._next_try_at:
            raise self.unavailable("did not answer just now")
        self._next_try_at = self._monotonic() + _PAUSE_SECONDS

    async def _count_failure(self, *, is_lost: bool = False) -> None:
        """A single late answer loses nothing. Several mean that the master may be gone without a word."""
        self._failures += 1
        if self._failures == _MOST_FAILURES:
            self._next_try_at = self._monotonic() + _PAUSE_SECONDS
        if is_lost or self._failures >= _MOST_FAILURES:
            await self.lose_master()

    async def _refuse(self, reply: ResponseError) -> None:
        if isinstance(reply, _MASTER_HAS_MOVED):
            await self.lose_master()
        if str(reply).startswith("WRONGTYPE"):
            raise StoreDamagedError(f"{self.shown}: a key of ours holds another type of value")
        raise self.unavailable(str(reply))

    async def _find_master(self) -> RedisServer:
        """Wait for the search that is under way, or begin one. It outlives a caller who cannot wait."""
        if self._search is None or self._search.done():
            self._search = asyncio.create_task(self._look_for_master())
            self._search.add_done_callback(_take_note)
        return await asyncio.shield(self._search)

    async def _look_for_master(self) -> RedisServer:
        self._tls = self._tls or load_tls(self._url)
        async with asyncio.timeout(_SEARCH_SECONDS):
            if self._url.kind == "single":
                address: tuple[str, int] = self._url.addresses[0]
            else:
                address = await self._ask_all()
            master = RedisServer(self._url, address, self._tls)
            try:
                (role,) = await master.run([("ROLE",)])
                if isinstance(role, ResponseError):
                    raise role
                if bytes(role[0]) != b"master":
                    raise ReadOnlyError(f"{address[0]}:{address[1]} is a replica")
            except BaseException:  # a cancelled search as well closes its connection; and it goes on
                await master.close()
                raise
        if self._is_closed:
            await master.close()
        self._master, self._followers = master, Followers(self._monotonic)
        return master

    async def _ask_all(self) -> tuple[str, int]:
        """Ask everybody at once, since any may be dead, until most of them name the same, or nobody else answers soon.

        One that comes back from behind a cut names the master of before, which takes itself for one until it is told:
        what was revoked meanwhile would live there.
        """
        asking = [asyncio.create_task(self._ask(address)) for address in self._url.addresses]
        named: Counter[tuple[str, int]] = Counter()
        problem: Exception = OSError("nobody knows the master")
        try:
            waiting, patience = set(asking), None
            while waiting and max(named.values(), default=0) <= len(asking) // 2:
                answered, waiting = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if not answered:
                    break
                for task in answered:
                    try:
                        named[task.result()] += 1
                        patience = _AGREEMENT_SECONDS
                    except (RedisError, OSError, TimeoutError) as error:
                        problem = error
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        if not named:
            raise problem
        return named.most_common(1)[0][0]

    async def _ask(self, address: tuple[str, int]) -> tuple[str, int]:
        is_sentinel = self._url.kind == "sentinel"
        server = RedisServer(self._url, address, self._tls, is_sentinel=is_sentinel)
        question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._url.service) if is_sentinel else ("CLUSTER", "SLOTS")
        try:
            (reply,) = await server.run([question])
        finally:
            await server.close()
        if isinstance(reply, ResponseError):
            raise reply
        return _parse_sentinel(reply, self._url.service) if is_sentinel else _parse_slots(reply, address)


def _parse_sentinel(reply: Any, service: str) -> tuple[str, int]:
    if not reply:
        raise RedisError(f"Sentinel knows no master {service}")
    return bytes(reply[0]).decode(), int(reply[1])


def _parse_slots(reply: Any, asked: tuple[str, int]) -> tuple[str, int]:
    """The owner of our slot. A node that does not know its own name leaves it empty: it is the one that we asked."""
    slot = key_slot(HASH_TAG.encode())
    for first, last, master, *_ in reply:
        if first <= slot <= last:
            return bytes(master[0] or b"").decode() or asked[0], int(master[1])
    raise ClusterDownError("no node of the Cluster serves our slot")


def _take_note(search: asyncio.Task[RedisServer]) -> None:
    """Callers may have given up before the search failed; without this, asyncio would complain about it."""
    if not search.cancelled():
        search.exception()
