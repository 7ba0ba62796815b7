"""What can only be checked once the whole file has its shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from authd.config.duplicates import check_duplicates
from authd.config.issuers import check_issuers
from authd.config.mistakes import PlacedMistake
from authd.config.references import check_references
from authd.config.schema import Config
from authd.config.selections import check_countries, check_selections


def check_whole(config: Config, raw: dict[str, Any]) -> list[PlacedMistake]:
    """Every mistake that spans several parts of the file.

    `raw` is the file as it was read: a name that stands there counts as known even if the section
    that declares it has another mistake.
    """

    def check() -> Iterator[PlacedMistake]:
        yield from check_references(config, raw)
        yield from check_duplicates(config)
        yield from check_selections(config)
        yield from check_issuers(config)
        yield from check_countries(config)

    return list(check())
