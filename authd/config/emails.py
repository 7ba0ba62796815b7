"""E-mail addresses in one spelling, so that equality is equality of text.

Full case folding is deliberately not used: it equates letters (long s, Kelvin sign, dotless i) that
mail servers tell apart, and so lets somebody register an address that "is" another person's.
"""

from __future__ import annotations

import re
import unicodedata

from authd.config.hosts import lower_ascii, parse_host

MAX_EMAIL_CHARACTERS = 254
MAX_LOCAL_CHARACTERS = 64
# RFC 5322 atext and the dot. Quoted local parts are refused: `"a@corp.test"@evil.com` has fooled many.
_LOCAL_ASCII = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")


def parse_email(text: object) -> str | None:
    """An address in ASCII lower case with an IDNA domain, or None for anything that is not one.

    Only A to Z are lowered, also before the `@` (as every large mail service does). A local part
    with other letters stays as it is, provided it is in Unicode's composed form: composing it here
    would turn a Kelvin sign into a K. Nothing is trimmed, and nothing but text is an address.
    Not checked: that the address or its domain exists.
    """
    if not isinstance(text, str) or len(text) > MAX_EMAIL_CHARACTERS or text.count("@") != 1:
        return None
    local, _, domain = text.partition("@")
    if len(local) > MAX_LOCAL_CHARACTERS or not _is_local_part(local):
        return None
    try:
        return f"{lower_ascii(local)}@{parse_host(domain)}"
    except ValueError:
        return None


def parse_email_domain(text: str) -> str:
    """`@Example.com` (as people type it) and `example.com` to `example.com`. Raises ValueError."""
    return parse_host(text.removeprefix("@"))


def _is_local_part(local: str) -> bool:
    ascii_letters = "".join(character for character in local if character.isascii())
    others = (character for character in local if not character.isascii())
    return (
        bool(local)
        and (not ascii_letters or _LOCAL_ASCII.fullmatch(ascii_letters) is not None)
        and all(unicodedata.category(character)[0] in "LMNS" for character in others)
        and unicodedata.is_normalized("NFC", local)
    )
