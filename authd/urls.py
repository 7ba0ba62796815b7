"""URLs as nginx hands them over: split by hand, judged for more than one reading, and safe to return to.

`urllib.parse.urlsplit` is not used: it is neither a browser nor nginx, and where the three differ access proxies were
bypassed (reference/attacks.md 0.2, 1.3, 1.7).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from unicodedata import normalize
from urllib.parse import quote, unquote_to_bytes

from authd.frozen import quick_init

_HOST = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*\Z"
)
_URL = re.compile(r"(https?)://([^/?#\\@]*)(/[^?]*)(?:\?(.*))?\Z", re.DOTALL)
# A path that every program reads the same way: no escapes, parameters, backslashes, empty or dot segments.
_PLAIN_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()*+,=:@-]+)*/?\Z")
# Escapes that cannot be mistaken: anything but control characters, "#" "." "/" ";" "?" "\\" and "%" itself.
_HARMLESS_ESCAPE = re.compile(r"%(?!0|1|2[35EeFf]|3[BbFf]|5[Cc]|7[Ff])[0-9A-Fa-f]{2}")
_PRINTABLE = re.compile(r"/[\x21-\x7e]*\Z")

MAX_RETURN_PATH_BYTES = 8000
# RFC 1035's 253 and a final dot.
MAX_HOST_CHARACTERS = 254


@quick_init
@dataclass(frozen=True, slots=True)
class OriginalUrl:
    """The visitor's URL, raw. `host` is normalised; `port` is what nginx wrote, "" for the scheme's own."""

    scheme: str
    host: str
    port: str
    raw_path: str
    raw_query: str | None

    @property
    def raw_target(self) -> str:
        """Path and query, byte for byte as the visitor sent them."""
        return self.raw_path if self.raw_query is None else f"{self.raw_path}?{self.raw_query}"


def find_original_url(unverified_text: str) -> OriginalUrl | None:
    """Split `$scheme://$host$authd_port$request_uri`. None if it is not of that form or the host is no host name."""
    match = _URL.match(unverified_text)
    if match is None:
        return None
    scheme, authority, raw_path, raw_query = match.groups()
    host, _, port = authority.partition(":")
    normal_host = find_host(host)
    if normal_host is None or (port and not (port.isascii() and port.isdigit() and len(port) <= 5)):
        return None
    return OriginalUrl(scheme, normal_host, port, raw_path, raw_query)


def find_host(unverified_text: str) -> str | None:
    """The host name in ASCII lower case without a trailing dot; None if it is none (addresses in brackets are none)."""
    # First of all what nobody can have: a Kelvin sign lowers to "k", and long texts would fill the memory of the cache.
    if not unverified_text.isascii() or len(unverified_text) > MAX_HOST_CHARACTERS:
        return None
    return _find_host(unverified_text)


@lru_cache(maxsize=4096)
def _find_host(text: str) -> str | None:
    host = text.lower().removesuffix(".")
    return host if _HOST.match(host) else None


def is_ambiguous_path(raw_path: str) -> bool:
    """True if two programs could read this raw path differently.

    Encoded slash, backslash, dot, `;`, `?`, `#`, `%` or control character; dot segments, empty segments, `;`
    parameters, backslashes, a raw `#`, escapes that are not UTF-8 (overlong forms of a dot, for example), and letters
    that are slashes or dots in full width.
    """
    if _PLAIN_PATH.match(raw_path):
        return False
    without_escapes = _HARMLESS_ESCAPE.sub("x", raw_path)
    if "%" in without_escapes or not _PLAIN_PATH.match(_raw_bytes_as_letters(without_escapes)):
        return True
    path = decode_path(raw_path)
    return path is None or _has_lookalikes(path)


def _has_lookalikes(path: str) -> bool:
    """True if letters of the path become slashes or dot segments for a program that normalises (NFKC, as IIS does)."""
    if path.isascii():
        return False
    normal = normalize("NFKC", path)
    is_cut_elsewhere = normal.count("/") != path.count("/") or "\\" in normal
    return is_cut_elsewhere or not {".", ".."}.isdisjoint(normal.split("/"))


def _raw_bytes_as_letters(text: str) -> str:
    return re.sub(r"[\x80-\xff\"<>\[\]^`{|}]", "x", text)


def decode_path(raw_path: str) -> str | None:
    """The path with its escapes undone once, as nginx does; None if that is not UTF-8."""
    try:
        return raw_path if raw_path.isascii() and "%" not in raw_path else _undo_escapes(raw_path)
    except UnicodeError:
        return None


def _undo_escapes(raw_path: str) -> str:
    return unquote_to_bytes(raw_path.encode("latin-1")).decode("utf-8")


def resolve_path(raw_path: str) -> str:
    """nginx' own reading of a raw path (`$uri`): escapes undone once, slashes merged, dot segments resolved."""
    return _as_utf8(_resolved(unquote_to_bytes(raw_path.encode("latin-1", "replace")).decode("latin-1")))


def readings_of(raw_path: str) -> frozenset[str]:
    """Every path that a program behind nginx might take `raw_path` for.

    Escapes undone up to three times, `;` parameters kept or dropped, backslashes kept or turned, cut at `#`, `?` or
    NUL or not, Unicode normalised (NFKC) or not, slashes merged, dot segments resolved or not. The true path of nginx
    is among them.

    Not resolved: a router that goes by the beginning takes `/admin/delete/../..` for something below `/admin`.
    """
    texts = {raw_path}
    for _ in range(3):
        texts |= {unquote_to_bytes(text.encode("latin-1", "replace")).decode("latin-1") for text in texts}
    texts |= {re.split(r"[#?\x00]", text, maxsplit=1)[0] for text in texts}
    texts |= {text.replace("\\", "/") for text in texts}
    texts |= {re.sub(r";[^/]*", "", text) for text in texts}
    paths = {_as_utf8(text) for text in texts}
    paths |= {normalize("NFKC", path).replace("\\", "/") for path in paths if not path.isascii()}
    return frozenset(reading for path in paths for reading in (_resolved(path), _merged(path)))


def _as_utf8(text: str) -> str:
    return text.encode("latin-1", "replace").decode("utf-8", "replace")


def _merged(path: str) -> str:
    """Slashes merged, `.` left out, and `..` left as it is."""
    return "/" + "/".join(segment for segment in path.split("/") if segment not in ("", "."))


def _resolved(path: str) -> str:
    """Slashes merged and dot segments resolved, as nginx does; `..` above the root stays at the root."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    trailing = "/" if kept and path.endswith(("/", "/.", "/..")) else ""
    return "/" + "/".join(kept) + trailing


def find_return_path(unverified_text: str) -> str | None:
    """The path and query to come back to after a login, or None if it is not one.

    It begins with one slash, holds printable ASCII only, and is always used behind `https://<configured host>`, so
    that a browser can read it as nothing but a path on that host. Raw bytes above 0x7f (curl sends them) are escaped:
    the same URL by the WHATWG standard.
    """
    text = quote(unverified_text.encode("latin-1", "replace"), safe="".join(map(chr, range(0x21, 0x7F))))
    is_path = _PRINTABLE.match(text) and not text.startswith(("//", "/\\")) and "\\" not in text.partition("?")[0]
    return text if is_path and len(text) <= MAX_RETURN_PATH_BYTES else None


def parse_query(raw_query: str) -> dict[str, list[str]]:
    """Split a query string; every value of every name in order, percent-decoded as UTF-8, `+` left alone."""
    values: dict[str, list[str]] = {}
    for part in raw_query.split("&"):
        name, _, value = part.partition("=")
        if name:
            values.setdefault(_decoded(name), []).append(_decoded(value))
    return values


def _decoded(text: str) -> str:
    return unquote_to_bytes(text.encode("latin-1", "replace")).decode("utf-8", "replace")


def find_single(values: dict[str, list[str]], name: str) -> str | None:
    """The one value of `name`; None if it is missing or stands there more than once (which of the two would count?)."""
    found = values.get(name, [])
    return found[0] if len(found) == 1 else None


def encode_parameter(text: str) -> str:
    """Percent-encode everything but unreserved characters, so that `&`, `+` and `%26` come back as they were."""
    return quote(text, safe="")
