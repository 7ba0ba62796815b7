"""Cookies: read from the header as it came, written with every attribute that keeps them where they belong.

Reading is our own, and strict on purpose: Falcon's parser undoes quotes and octal escapes, so that it, nginx and a
browser see different cookies in one header (reference/attacks.md 0.1). A name is compared without regard to case only
where that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import formatdate

# More cookies of one name than this are an attack or a broken client; the rest is not looked at.
MAX_VALUES = 4


def _pairs(header: str) -> Iterator[tuple[str, str]]:
    """Name and raw value of each cookie. Space and tab around them are dropped.

    Parted at ";" alone, though nginx parts at "," too: a host beside ours may set `x=1,__Host-authd_team=...` for their
    common parent, and a `__Host-` name must not be smuggled in within the value of another cookie.
    """
    for part in header.split(";"):
        name, separator, value = part.partition("=")
        if separator:
            yield name.strip(" \t"), value.strip(" \t")


def find_cookie(header: str, name: str) -> str | None:
    """The value of the one cookie of that exact name; None if it is missing, empty, or there twice."""
    if name not in header:
        return None
    values = [value for found, value in _pairs(header) if found == name]
    return values[0] or None if len(values) == 1 else None


def find_cookies_ignoring_case(header: str, name: str) -> list[str]:
    """Up to MAX_VALUES different values of all cookies whose name is `name` in whatever case, in their order, none
    empty."""
    wanted = name.lower()
    if wanted not in header.lower():
        return []
    values = dict.fromkeys(value for found, value in _pairs(header) if found.lower() == wanted and value)
    return list(values)[:MAX_VALUES]


def find_cookies_by_prefix(header: str, prefix: str) -> dict[str, str]:
    """Every cookie whose name begins with `prefix`, in their order; one that is there twice has the value "".

    Reads the header once, however many there are: a look-up for each would let one request take half a second.
    """
    values: dict[str, str] = {}
    for name, value in _pairs(header):
        if name.startswith(prefix):
            values[name] = "" if name in values else value
    return values


def render_cookie(name: str, value: str, *, max_age_seconds: int, now: float) -> str:
    """A host-only cookie: Secure, HttpOnly, SameSite=Lax, Path=/, no Domain.

    Both `Max-Age` and `Expires`: Go's cookie jar, and so cloudflared, needs the latter (reference/access-wire.md 6.1
    D).
    """
    expires = formatdate(now + max_age_seconds, usegmt=True)
    return f"{name}={value}; Path=/; Max-Age={max_age_seconds}; Expires={expires}; Secure; HttpOnly; SameSite=Lax"


def render_expired_cookie(name: str) -> str:
    """Removes a cookie that `render_cookie` wrote, also one that nobody can read any more."""
    return f"{name}=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; HttpOnly; SameSite=Lax"
