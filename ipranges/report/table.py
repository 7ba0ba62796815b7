"""Plain tables and figures for terminals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from ipranges.networks import FAMILIES, NetworkSet


def render_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of the width that they need, the header in capitals."""
    lines = [[cell.upper() for cell in header], *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def render_age(seconds: int | None) -> str:
    """An age in its two largest units: `3d 4h`."""
    if seconds is None:
        return "unknown"
    for size, unit, smaller, smaller_unit in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // smaller}{smaller_unit}"
    return f"{seconds}s"


def render_time(at: int) -> str:
    """A moment in UTC, to the minute; a dash for none."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC") if at else "-"


def render_share(part: NetworkSet, whole: NetworkSet) -> str:
    """How much of `whole` the size of `part` is, per family: `IPv4 14.7 %`."""
    shares = []
    for family in FAMILIES:
        addresses, total = part.address_count(family), whole.address_count(family)
        if addresses:
            share = f"{100 * addresses / total:.1f} % of before" if total else "none before"
            shares.append(f"IP{family} {render_count(addresses)} addresses, {share}")
    return "; ".join(shares)


def render_count(count: int) -> str:
    """A number of addresses as a person reads it; IPv6's as a power of two."""
    return f"{count:,}" if count < 1 << 40 else f"2^{count.bit_length() - 1}"
