"""Host names in one spelling: ASCII lower case, international names as A-labels.

Sources: RFC 5891 (IDNA 2008), UTS #46 (mapping), RFC 1035 (lengths).
"""

from __future__ import annotations

import re
import string

import idna

# An underscore is no letter of a host name, but nginx serves such names and people have them.
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
MAX_HOST_CHARACTERS = 253


def lower_ascii(text: str) -> str:
    """Lower A to Z and nothing else. `str.lower` would make the Kelvin sign a `k`."""
    return text.translate(_LOWER)


def parse_host(text: str) -> str:
    """`Grafana.Exämple.com` to `grafana.xn--exmple-cua.com`. Raises ValueError for anything else.

    Refused: an empty label (so also a final dot), a port, brackets, and every name in which UTS #46
    would turn a foreign letter into an ASCII one (long s, Kelvin sign, full-width forms) or drop a character (soft
    hyphen, zero-width space): two names that differ to a mail server or a log must not become the same one here.
    """
    if not 0 < len(text) <= MAX_HOST_CHARACTERS:
        raise ValueError("is not a host name")
    host = lower_ascii(text) if text.isascii() else _encode_international(text)
    labels = host.split(".")
    if len(host) > MAX_HOST_CHARACTERS or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("is not a host name")
    if host.isascii() and "xn--" in host:
        _refuse_bad_a_labels(labels)
    return host


def _encode_international(text: str) -> str:
    try:
        mapped = _map_international(text)
        if _count_ascii(mapped) != _count_ascii(text):
            raise ValueError("holds a letter that only looks like another one")
        if not all(map(_map_international, text)):
            raise ValueError("holds a character that nobody sees")
        return idna.encode(mapped).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise ValueError("is not a host name") from None


def _map_international(text: str) -> str:
    return idna.uts46_remap(text, std3_rules=False, transitional=False)


def _count_ascii(text: str) -> int:
    return sum(character.isascii() for character in text)


def _refuse_bad_a_labels(labels: list[str]) -> None:
    for label in labels:
        if label.startswith("xn--"):
            try:
                idna.ulabel(label)
            except (idna.IDNAError, UnicodeError):
                raise ValueError("holds an xn-- label that decodes to nothing allowed") from None
