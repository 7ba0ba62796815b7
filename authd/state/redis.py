"""The store for several machines: Redis or Valkey, single, with Sentinel, or as a Cluster.

A value is stored behind its expiry by the caller's clock, which alone decides; Redis removes it EXPIRY_SLACK_SECONDS
later by its own clock, so that a server whose clock is ahead ends nobody's session. Every step that must not be divided
is one command or one script. See docs/redis.md for what the servers must be set to.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from authd.config.redis_url import RedisUrl
from authd.errors import StoreDamagedError, StoreUnfitError
from authd.state import redis_scripts as scripts
from authd.state.base import MOST_OWNED, StoredEnd, StoredValue, Tombstone
from authd.state.redis_info import find_problem, find_warnings, parse_info
from authd.state.redis_link import HASH_TAG, RedisLink

EXPIRY_SLACK_SECONDS = 600
# 2^53 ms overflows nothing, but what is kept for ever needs no expiry: the year 4147.
_FOR_EVER = 2**36
_PAGE = 500
_VALUES, _COUNTERS, _OWNED = f"{HASH_TAG}:v:", f"{HASH_TAG}:c:", f"{HASH_TAG}:o:"
_SEQUENCE, _TOMBSTONES, _REMEMBERED = f"{HASH_TAG}:sequence", f"{HASH_TAG}:tombstones", f"{HASH_TAG}:remembered"


class RedisStore:
    """A `Store` on whichever server is master. Connects when it is first used."""

    def __init__(self, url: RedisUrl) -> None:
        self._link = RedisLink(url)
        # Which history of writes we follow. A failover begins another one, which may lack the newest entries; while its
        # newest sequence is below the caller's cursor, that is where reading goes on.
        self._history: str | None = None
        self._behind: int | None = None

    async def check(self) -> list[str]:
        """See `Store.check`. Raises StoreUnfitError for a server that throws away what it was given."""
        (reply,) = await self._link.run(("INFO",))
        info = parse_info(reply)
        problem = find_problem(info)
        if problem:
            raise StoreUnfitError(f"{self._link.shown}: {problem}")
        return [f"{self._link.shown}: {warning}" for warning in find_warnings(info)]

    async def put(self, kind: str, id_: str, value: bytes, *, expires_at: int, owner: str = "") -> None:
        """See `Store.put`."""
        key, row = _key(_VALUES, kind, id_), _render_row(value, expires_at, owner)
        if owner:
            keys = (key, _key(_OWNED, kind, owner))
            arguments = (row, _expiry_ms(expires_at), id_, expires_at)
            await self._link.write(("EVAL", scripts.PUT_OWNED, len(keys), *keys, *arguments))
        else:
            until = () if expires_at >= _FOR_EVER else ("PXAT", _expiry_ms(expires_at))
            await self._link.write(("SET", key, row, *until))

    async def put_if_absent(self, kind: str, id_: str, value: bytes, *, now: int, expires_at: int) -> bool:
        """See `Store.put_if_absent`. What stands there and is not ours counts as present."""
        key, row = _key(_VALUES, kind, id_), _render_row(value, expires_at)
        arguments = (now, row, 0 if expires_at >= _FOR_EVER else _expiry_ms(expires_at))
        return bool(await self._link.write(("EVAL", scripts.PUT_IF_ABSENT, 1, key, *arguments)))

    async def replace(
        self, kind: str, id_: str, old: bytes, new: bytes, *, now: int, expires_at: int, owner: str = ""
    ) -> bool:
        """See `Store.replace`."""
        keys = (_key(_VALUES, kind, id_), *([_key(_OWNED, kind, owner)] if owner else []))
        row = _render_row(new, expires_at, owner)
        arguments = (now, old, row, 0 if expires_at >= _FOR_EVER else _expiry_ms(expires_at), id_, expires_at)
        return bool(await self._link.write(("EVAL", scripts.REPLACE, len(keys), *keys, *arguments)))

    async def find(self, kind: str, id_: str, *, now: int) -> bytes | None:
        """See `Store.find`."""
        try:
            (row,) = await self._link.run(("GET", _key(_VALUES, kind, id_)))
        except StoreDamagedError:
            return b""
        return _find_living(row, now)

    async def find_many(self, kind: str, ids: Sequence[str], *, now: int) -> dict[str, bytes]:
        """See `Store.find_many`. What holds another type of value is missing here."""
        if not ids:
            return {}
        (rows,) = await self._link.run(("MGET", *(_key(_VALUES, kind, id_) for id_ in ids)))
        living = ((id_, _find_living(row, now)) for id_, row in zip(ids, rows, strict=True))
        return {id_: value for id_, value in living if value is not None}

    async def find_owned(self, kind: str, owner: str, *, now: int, skip: int = 0) -> list[StoredValue]:
        """See `Store.find_owned`. The index may name what has ended: the values themselves decide. It forgets those, or
        somebody who had hundreds of sessions would have none that is found."""
        index = _key(_OWNED, kind, owner)
        while True:
            page = ("ZREVRANGEBYSCORE", index, "+inf", f"({now}", "LIMIT", skip, MOST_OWNED)
            (members,) = await self._link.run(page)
            if not members:
                return []
            ids = [bytes(member).decode(errors="surrogateescape") for member in members]
            keys = [_key(_VALUES, kind, id_) for id_ in ids]
            (rows,) = await self._link.run(("MGET", *keys))
            gone = [number for number, row in enumerate(rows) if row is None]
            if not gone:
                return _find_owners(kind, owner, zip(ids, rows, strict=True), now)
            forget = (*(keys[number] for number in gone), *(members[number] for number in gone))
            await self._link.run(("EVAL", scripts.DISOWN, 1 + len(gone), index, *forget))

    async def take(self, kind: str, id_: str, *, now: int) -> bytes | None:
        """See `Store.take`."""
        try:
            row = await self._link.write(("GETDEL", _key(_VALUES, kind, id_)))
        except StoreDamagedError:
            return b""
        return _find_living(row, now)

    async def count(self, kind: str, id_: str, *, now: int, window_seconds: int) -> int:
        """See `Store.count`. The window begins with the first count and does not slide. A failover may forget some."""
        end = now + window_seconds
        command = ("EVAL", scripts.COUNT, 1, _key(_COUNTERS, kind, id_), now, end, _expiry_ms(end))
        (count,) = await self._link.run(command)
        return int(count)

    async def end(self, kind: str, id_: str, *, now: int, remembered_until: int) -> None:
        """See `Store.end`."""
        keys = (_key(_VALUES, kind, id_), _SEQUENCE, _TOMBSTONES, _REMEMBERED)
        await self._link.write(("EVAL", scripts.END, len(keys), *keys, kind, id_, max(remembered_until, now)))

    async def cursor(self) -> int:
        """See `Store.cursor`."""
        self._history, newest, _ = await self._read_tombstones(0, limit=0)
        return newest

    async def tombstones_since(self, sequence: int) -> list[Tombstone]:
        """See `Store.tombstones_since`. After a failover everything that is remembered comes once more.

        The server that took over may lack the newest tombstones, and gives their numbers to others: a cursor of before
        would skip those.
        """
        read_from = sequence if self._behind is None else min(sequence, self._behind)
        history, newest, found = await self._read_tombstones(read_from)
        if self._history not in (None, history) or newest < sequence:
            history, newest, found = await self._read_tombstones(0)
        self._history = history
        self._behind = newest if newest < sequence else None
        return found

    async def sweep(self, *, now: int) -> int:
        """See `Store.sweep`. Values and counters go by themselves; this removes tombstones."""
        command = ("EVAL", scripts.SWEEP, 2, _TOMBSTONES, _REMEMBERED, now, _PAGE)
        return int((await self._link.run(command))[0])

    async def size(self) -> int:
        """See `Store.size`. Looks at every key of the server, page by page."""
        (tombstones,) = await self._link.run(("ZCARD", _TOMBSTONES))
        rows = int(tombstones)
        for prefix in (_VALUES, _COUNTERS):
            async for keys in self._scan(prefix):
                rows += len(keys)
        return rows

    async def read_values(self, *, now: int) -> AsyncIterator[StoredValue]:
        """See `Store.read_values`. One may come twice."""
        async for keys in self._scan(_VALUES):
            (rows,) = await self._link.run(("MGET", *keys))
            for key, row in zip(keys, rows, strict=True):
                expires_at, value, owner = _parse_row(row or b"")
                if value is not None and expires_at > now:
                    kind, _, id_ = key.removeprefix(_VALUES).partition(":")
                    yield StoredValue(kind, id_, value, expires_at, owner)

    async def read_ends(self, *, now: int) -> AsyncIterator[StoredEnd]:
        """See `Store.read_ends`."""
        _, _, tombstones = await self._read_tombstones(0)
        for start in range(0, len(tombstones), _PAGE):
            page = tombstones[start : start + _PAGE]
            scores = await self._link.run(*(("ZSCORE", _REMEMBERED, _render_member(each)) for each in page))
            for tombstone, remembered_until in zip(page, scores, strict=True):
                if remembered_until is not None and int(float(remembered_until)) > now:
                    yield StoredEnd(tombstone.kind, tombstone.id, int(float(remembered_until)))

    async def close(self) -> None:
        """See `Store.close`."""
        await self._link.close()

    async def _read_tombstones(self, sequence: int, *, limit: int = _PAGE) -> tuple[str, int, list[Tombstone]]:
        """The history, its newest sequence, and what follows `sequence`, read page by page.

        The sequence is read before the tombstones: what is written in between is found twice rather than never.
        """
        found: list[Tombstone] = []
        while True:
            page = ("ZRANGEBYSCORE", _TOMBSTONES, f"({sequence}", "+inf", "LIMIT", 0, limit)
            commands = (("INFO", "replication"), ("ROLE",), ("GET", _SEQUENCE), page)
            reply, role, newest, members = await self._link.run(*commands)
            info = parse_info(reply)
            if info.get("role") != "master":
                await self._link.lose_master()
                raise self._link.unavailable("is a replica now")
            self._link.watch_master(role)
            found += [_parse_member(member) for member in members]
            if len(members) < limit or not members:
                return info.get("master_replid", ""), _parse_sequence(newest), found
            sequence = found[-1].sequence

    async def _scan(self, prefix: str) -> AsyncIterator[list[str]]:
        cursor = b"0"
        while True:
            ((cursor, keys),) = await self._link.run(("SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", _PAGE))
            if keys:
                yield [bytes(key).decode(errors="surrogateescape") for key in keys]
            if bytes(cursor) == b"0":
                return


def _key(prefix: str, kind: str, id_: str) -> str:
    if ":" in kind:
        raise ValueError(f"a kind must not hold a colon: {kind}")
    return f"{prefix}{kind}:{id_}"


def _expiry_ms(expires_at: int) -> int:
    return (expires_at + EXPIRY_SLACK_SECONDS) * 1000


def _render_row(value: bytes, expires_at: int, owner: str = "") -> bytes:
    if any(letter.isspace() for letter in owner):
        raise ValueError(f"an owner must be one word: {owner!r}")
    return b"%d%b\n%b" % (expires_at, f" {owner}".encode() if owner else b"", value)


def _parse_row(row: bytes) -> tuple[int, bytes | None, str]:
    """Expiry, value and owner; None for a value that is not ours."""
    head, newline, value = row.partition(b"\n")
    expires_at, _, owner = head.partition(b" ")
    is_ours = newline and expires_at.isdigit() and len(expires_at) < 20
    return (int(expires_at), value, owner.decode(errors="surrogateescape")) if is_ours else (0, None, "")


def _find_living(row: Any, now: int) -> bytes | None:
    """What is not ours is empty, which no seal fits: it is reported and lets nobody in."""
    if row is None:
        return None
    expires_at, value, _ = _parse_row(row)
    if value is None:
        return b""
    return value if expires_at > now else None


def _find_owners(kind: str, owner: str, rows: Iterable[tuple[str, Any]], now: int) -> list[StoredValue]:
    found = []
    for id_, row in rows:
        expires_at, value, written_owner = _parse_row(row)
        if value is not None and expires_at > now and written_owner == owner:
            found.append(StoredValue(kind, id_, value, expires_at, owner))
    return found


def _render_member(tombstone: Tombstone) -> str:
    return f"{tombstone.sequence}\n{tombstone.kind}\n{tombstone.id}"


def _parse_member(member: bytes) -> Tombstone:
    with contextlib.suppress(ValueError):
        sequence, kind, id_ = member.decode().split("\n", 2)
        return Tombstone(int(sequence), kind, id_)
    raise StoreDamagedError("Redis: the tombstones hold something that authd did not write")


def _parse_sequence(reply: Any) -> int:
    try:
        return int(reply or 0)
    except ValueError:
        raise StoreDamagedError("Redis: the sequence of the tombstones is no number") from None
