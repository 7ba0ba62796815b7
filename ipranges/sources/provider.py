"""What a provider of address ranges is: where its list stands, how it reads, and what size to expect."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ipranges.model import UnverifiedEdition
from ipranges.networks import Family

Bodies = Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Discovery:
    """A list without a stable address: a page that names it, and which link on that page is the one."""

    page: str
    link: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to get a whole list. All of `urls` must answer: half a list is no list."""

    urls: tuple[str, ...]
    parse: Callable[[Bodies], UnverifiedEdition]
    discovery: Discovery | None = None
    accept: str = "application/json"


@dataclass(frozen=True, slots=True)
class Limits:
    """What no edition may exceed, however it came about.

    `min_prefix` is the widest prefix allowed, per family; `families` those that must be there.
    """

    min_prefix_v4: int = 8
    min_prefix_v6: int = 20
    families: tuple[Family, ...] = ()
    allow_private: bool = False
    max_prefixes: int = 200_000
    max_v4_addresses: int = 1 << 27


@dataclass(frozen=True, slots=True)
class Provider:
    """One source, ready to be asked.

    `attempts` are tried in their order; `verified_on` is when endpoint and format were last compared
    with the provider's documentation and with recordings of what the endpoint answered; `expected` says
    the size of the list at that time.
    """

    name: str
    official: str
    verified_on: str
    expected: str
    attempts: tuple[Attempt, ...]
    limits: Limits = field(default_factory=Limits)
    fixed: tuple[str, ...] = ()
    bundled: tuple[str, ...] = ()
    bundled_on: str = ""
    public_key: str = ""

    @property
    def endpoint(self) -> str:
        """Where the list is asked for first; for a fixed list, where it is documented."""
        if not self.attempts:
            return self.official
        discovery = self.attempts[0].discovery
        return discovery.page if discovery else self.attempts[0].urls[0]

    note: str = ""
