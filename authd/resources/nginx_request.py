"""What nginx says, read from the headers that the snippet sets. The only file that knows their names (design 2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from authd.client_certificates import find_client_certificate
from authd.countries import parse_country
from authd.credentials import CheckRequest
from authd.errors import MalformedRequestError
from authd.model import ClientCertificate, Facts
from authd.urls import find_original_url

RawHeaders = Iterable[tuple[bytes, bytes]]

# Of X-Authd-Token-From: nginx offers it, and authd takes the offer (ADR 0122).
FROM_SESSION = "session"


class NginxHeaders:
    """The headers of one request to authd, each at most once. `texts` has their values as Latin-1, which keeps every
    byte, by their names in lower case."""

    __slots__ = ("texts",)

    def __init__(self, raw: RawHeaders) -> None:
        """Raises MalformedRequestError if a name stands there twice: which of the two would count?"""
        pairs = list(raw)
        self.texts = {name: value.decode("latin-1") for name, value in pairs}
        if len(self.texts) != len(pairs):
            raise MalformedRequestError("a header of the check was sent twice")

    def text(self, name: bytes) -> str:
        """The value as Latin-1 (every byte is kept), "" if it was not sent. `name` in lower case."""
        return self.texts.get(name, "")

    def utf8(self, name: bytes) -> str | None:
        """The value as UTF-8, None if it was not sent or is empty. Raises MalformedRequestError if it is not UTF-8."""
        text = self.text(name)
        try:
            return (text if text.isascii() else text.encode("latin-1").decode("utf-8")) or None
        except UnicodeDecodeError as error:
            raise MalformedRequestError(f"{name.decode()} is not UTF-8") from error


def parse_check_request(headers: NginxHeaders) -> CheckRequest:
    """The request that nginx asks about. Raises MalformedRequestError, which refuses it."""
    # On the hot path: a method of ours for each of so many names costs as much as the decision.
    text = headers.texts.get
    url = find_original_url(text(b"x-original-url", ""))
    if url is None:
        raise MalformedRequestError("x-original-url is missing or is no URL")
    method = text(b"x-original-method", "")
    if not method:
        raise MalformedRequestError("x-original-method is missing")
    return CheckRequest(
        claimed_application=text(b"x-authd-app", ""),
        method=method,
        url=url,
        path=headers.utf8(b"x-original-path"),
        facts=parse_facts(headers),
        scope=text(b"x-authd-scope", ""),
        nginx_session=text(b"x-authd-session", ""),
        cookie_header=text(b"cookie", ""),
        access_token=text(b"cf-access-token", ""),
        assertion=text(b"cf-access-jwt-assertion", ""),
        authorization=text(b"authorization", ""),
        client_id=text(b"cf-access-client-id", ""),
        client_secret=text(b"cf-access-client-secret", ""),
        credential_header=text(b"x-authd-credential", ""),
        has_session_at_hand=text(b"x-authd-token-from") == FROM_SESSION,
        is_preflight=method == "OPTIONS" and bool(text(b"origin") and text(b"access-control-request-method")),
    )


def parse_facts(headers: NginxHeaders) -> Facts:
    """The connection as nginx tells it, for check, challenge and endpoints alike. Raises MalformedRequestError."""
    country = parse_country(headers.text(b"x-authd-country"))
    verify = headers.text(b"ssl-client-verify")
    certificate = _parse_certificate(headers, verify) if verify else None
    return Facts(parse_client_ip(headers.text(b"x-real-ip")), country=country, certificate=certificate)


def _parse_certificate(headers: NginxHeaders, verify: str) -> ClientCertificate | None:
    names = (b"ssl-client-fingerprint", b"ssl-client-s-dn", b"ssl-client-i-dn")
    return find_client_certificate(verify, *(headers.text(name) for name in names))


@lru_cache(maxsize=4096)
def parse_client_ip(text: str) -> IPv4Address | IPv6Address:
    """The visitor's address as nginx sees it; an IPv4-mapped one becomes IPv4. Raises MalformedRequestError."""
    try:
        address = ip_address(text)
    except ValueError as error:
        raise MalformedRequestError(f"x-real-ip is no address: {text[:50]!r}") from error
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@dataclass(frozen=True, slots=True)
class Negotiation:
    """What shapes the answer to somebody who is not let in. It never touches the decision."""

    accept: str
    fetch_mode: str
    fetch_dest: str
    fetch_site: str
    requested_with: str
    upgrade: str
    user_agent: str
    has_access_token: bool
    raw_query: str

    @property
    def wants_redirect(self) -> bool:
        """Whether a 302 to the login helps: a GET or HEAD navigation, or cloudflared (reference/access-wire.md 6.1
        F)."""
        if self.is_cloudflared:
            return True
        if self.upgrade or self.requested_with:
            return False
        if self.fetch_mode:
            return self.fetch_mode == "navigate"
        return self.accepts_html

    @property
    def is_cloudflared(self) -> bool:
        """cloudflared takes nothing but a 302 for "this token is dead"."""
        return (
            self.has_access_token
            or self.user_agent.startswith("cloudflared/")
            or "cloudflared_token_check=" in self.raw_query
        )

    @property
    def is_navigation(self) -> bool:
        """Whether a person looks at the answer, so that a page is the right one."""
        if self.upgrade or self.requested_with:
            return False
        return self.fetch_mode == "navigate" if self.fetch_mode else self.accepts_html

    @property
    def accepts_html(self) -> bool:
        """HTML is wanted, or anything at all is (curl)."""
        accept = self.accept.lower()
        return not accept or "text/html" in accept or ("*/*" in accept and "json" not in accept)


def parse_negotiation(headers: NginxHeaders, raw_query: str) -> Negotiation:
    """The negotiation headers of the challenge and the endpoints."""
    return Negotiation(
        accept=headers.text(b"accept"),
        fetch_mode=headers.text(b"sec-fetch-mode"),
        fetch_dest=headers.text(b"sec-fetch-dest"),
        fetch_site=headers.text(b"sec-fetch-site"),
        requested_with=headers.text(b"x-requested-with"),
        upgrade=headers.text(b"upgrade"),
        user_agent=headers.text(b"user-agent"),
        has_access_token=bool(headers.text(b"cf-access-token")),
        raw_query=raw_query,
    )
