"""What the lab measured: told at the end of a run, whether its tests passed or not."""

from __future__ import annotations

_told: list[str] = []


def tell(sentence: str) -> None:
    """Remember a figure."""
    _told.append(sentence)


def list_told() -> tuple[str, ...]:
    """All of this run."""
    return tuple(_told)
