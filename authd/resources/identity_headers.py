"""Who somebody is, as headers for the application (design 2)."""

from __future__ import annotations

import re
from urllib.parse import quote

from authd.model import Identity, Machine

# Printable ASCII but for "%", quotes, and the comma that parts one group from the next.
_HEADER_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in '%,"\\')
_AS_IT_IS = re.compile(r"[A-Za-z0-9@._:-]*\Z")
# nginx keeps 32k for all headers of the answer; the token and the cache key need some of it.
MAX_GROUPS_BYTES = 12_000


def render_identity_headers(bearer: Identity | Machine) -> dict[str, str]:
    """Who it is, as headers. What is not printable ASCII is percent-encoded as UTF-8, commas within a group too.

    Groups that do not fit into MAX_GROUPS_BYTES are left out: an application that needs all of them asks get-identity.
    """
    email = None if isinstance(bearer, Machine) else bearer.email
    # A machine may be called like somebody's address; no address has a colon.
    user = f"machine:{bearer.name}" if isinstance(bearer, Machine) else email or bearer.subject
    headers = {"X-Authd-User": _encode_header(user)}
    if email:
        headers["Cf-Access-Authenticated-User-Email"] = _encode_header(email)
    groups, size = [], 0
    for group in bearer.groups:
        encoded = _encode_header(group)
        size += len(encoded) + 1
        if size > MAX_GROUPS_BYTES:
            break
        groups.append(encoded)
    if groups:
        headers["X-Authd-Groups"] = ",".join(groups)
    return headers


def _encode_header(text: str) -> str:
    if _AS_IT_IS.match(text):
        return text
    encoded = quote(text.encode("utf-8", "replace"), safe=_HEADER_SAFE)
    # Applications trim what stands between two commas: " admins" must not arrive as "admins".
    return re.sub(r"\A | \Z", "%20", encoded)
