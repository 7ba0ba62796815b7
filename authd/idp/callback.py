"""The answer that a provider sends through the browser (RFC 6749 4.1.2, RFC 9207)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

MAX_QUERY_BYTES = 8192
_MAX_PARAMETERS = 50
# One of these twice, and two programs see two answers: RFC 6749 3.1 forbids it for every parameter.
_SINGLE = frozenset({"code", "state", "error", "error_description", "iss", "id_token", "access_token"})


@dataclass(frozen=True, slots=True)
class UnverifiedCallback:
    """What the query says. The visitor may have written it: only the provider's answer to `code` counts."""

    code: str | None
    error: str | None
    error_description: str | None
    issuer: str | None


def parse_callback(unverified_query: str) -> UnverifiedCallback:
    """Read the raw query string of a callback. Raises ValueError, a clause, if it is ambiguous.

    Refused: over 8 kB or 50 parameters, what is not UTF-8, a parameter of the protocol given
    twice, `code` and `error` together or neither. Not checked: `state`, which the caller matched.
    """
    if len(unverified_query) > MAX_QUERY_BYTES:
        raise ValueError(f"is longer than {MAX_QUERY_BYTES} bytes")
    try:
        pairs = parse_qsl(unverified_query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        raise ValueError("is not a query string in UTF-8 of at most 50 parameters") from None
    known = [(name, value) for name, value in pairs if name in _SINGLE]
    values = dict(known)
    if len(values) != len(known):
        raise ValueError("has a parameter twice")
    if bool(values.get("code")) == bool(values.get("error")):
        raise ValueError("must have either a code or an error")
    return UnverifiedCallback(
        values.get("code") or None,
        values.get("error") or None,
        values.get("error_description"),
        values.get("iss"),
    )
