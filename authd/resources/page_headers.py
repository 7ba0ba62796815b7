"""What surrounds a page: the headers that go with every one, and which addresses may stand in it.

Both are the second line behind Jinja2's escaping. A value that slips through a template still
meets a policy without any script; an address that slips through a check elsewhere still is none
that a browser would run or read as another host's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NewType

Link = NewType("Link", str)

_ORIGIN = r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
# Printable ASCII, in the path without the backslash: browsers drop tabs and line ends inside an
# address and read "\" there as "/", so that "/\evil.example" leads to another host. Behind "?" or
# "#" a backslash is only itself (WHATWG URL), and applications do get queries with one.
_PATH = r'/[!"$->@-\[\]-~]*'
_QUERY = r"(?:[?#][!-~]*)?"
_ABSOLUTE_LINK = re.compile(rf"{_ORIGIN}(?:{_PATH})?{_QUERY}")
_PATH_LINK = re.compile(rf"(?!//){_PATH}{_QUERY}")
_FORM_TARGET = re.compile(_ORIGIN)


def verify_link(unverified_url: str) -> Link:
    """Return the address if it is a path of this host or an absolute http(s) URL; for href and action.

    Refused are every other scheme, `//host`, user information (`https://known@evil.example`),
    backslashes in the path, spaces, control characters and anything outside ASCII (RFC 3986: the caller encodes
    those first). Whether the host is one of ours is NOT checked, nor the length.

    Raises ValueError, which names the rule and not the address: that may hold a one-time code.
    """
    if _PATH_LINK.fullmatch(unverified_url) or _ABSOLUTE_LINK.fullmatch(unverified_url):
        return Link(unverified_url)
    raise ValueError("a link on a page must be a path or an http(s) URL in printable ASCII; encode it first")


def security_headers(form_targets: Sequence[str] = ()) -> tuple[tuple[str, str], ...]:
    """Return the headers to send with a page, as (name, value) pairs.

    `form_targets` are origins (`https://auth.example.com[:port]`) to which the answer to one of the
    page's forms may redirect. Chromium holds every redirect that follows a form against
    `form-action`, and stops on a blank page where the next origin is not listed (W3C CSP3, 6.4.1).

    No Cross-Origin-Opener-Policy: any value but `unsafe-none`, on any page of the login, cuts the
    tie between a window that an application opened for logging in and its opener, and the
    application would wait for it for ever. It would gain little: the pages have no script and no
    state that an opener could reach.

    `no-referrer` also makes browsers send `Origin: null` with the page's forms (Fetch, "append a
    request Origin header"): whoever receives them must go by `Sec-Fetch-Site`.

    Raises ValueError if a form target is anything but an origin.
    """
    for target in form_targets:
        if not _FORM_TARGET.fullmatch(target):
            raise ValueError(f"form target {target!r} is no origin such as https://auth.example.com")
    form_action = " ".join(("'self'", *dict.fromkeys(form_targets)))
    policy = f"default-src 'none'; style-src 'self'; form-action {form_action}; base-uri 'none'; frame-ancestors 'none'"
    return (
        ("Content-Security-Policy", policy),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
        ("Cache-Control", "no-store"),
    )


SECURITY_HEADERS = security_headers()
