"""What application and team host share: who asks, the identity as JSON, and the end of a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import falcon
import falcon.asgi

from authd.attempts import APP_SESSION_COOKIE
from authd.audit import log_event
from authd.cookies import find_cookies_by_prefix, render_expired_cookie
from authd.errors import MalformedRequestError
from authd.login import TEAM_COOKIE
from authd.login_steps import Client
from authd.model import Session
from authd.policy.index import Application
from authd.resources.nginx_request import NginxHeaders, parse_facts
from authd.urls import OriginalUrl, find_original_url, find_single, parse_query

MAX_FORM_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class EndpointRequest:
    """A request to one of the access endpoints, as nginx tells it."""

    url: OriginalUrl
    client: Client
    fetch_site: str
    is_post: bool = False

    @property
    def query(self) -> str:
        """The raw query string."""
        return self.url.raw_query or ""

    @property
    def is_own_form(self) -> bool:
        """Whether a form of ours may have sent this POST.

        Browsers that send no Sec-Fetch-Site send no usable Origin with our forms either (no-referrer makes it "null").
        There SameSite=Lax is the guard: a POST from another site carries no session that could be ended.
        """
        return self.fetch_site in ("", "same-origin")


def parse_endpoint_request(req: falcon.asgi.Request) -> EndpointRequest:
    """Raises MalformedRequestError."""
    headers = NginxHeaders(req.scope["headers"])
    url = find_original_url(headers.text(b"x-original-url"))
    if url is None:
        raise MalformedRequestError("x-original-url is missing or is no URL")
    client = Client(
        facts=parse_facts(headers),
        user_agent=headers.text(b"user-agent"),
        cookie_header=headers.text(b"cookie"),
    )
    return EndpointRequest(url, client, headers.text(b"sec-fetch-site"), is_post=req.method == "POST")


async def read_form(req: falcon.asgi.Request) -> dict[str, str]:
    """The fields of a small form. A longer body is cut: nginx has refused it before."""
    body = await req.stream.read(MAX_FORM_BYTES)
    return dict(parse_qsl(body.decode("utf-8", "replace")))


def find_return_to(request: EndpointRequest, form: Mapping[str, str]) -> str:
    """Where a logout is to lead, unverified: from the confirming form, else from the address. "" for nowhere.

    Named twice it is an address that nobody may be sent to: which of the two would count?
    """
    query = parse_query(request.query)
    if form.get("return_to") or "returnTo" not in query:
        return form.get("return_to", "")
    return find_single(query, "returnTo") or "twice"


def expired_cookies(cookie_header: str, token_cookie_name: str) -> tuple[str, ...]:
    """Removes what we ever set on this host, in whatever case and also what nobody can read any more."""
    ours = [name for name in find_cookies_by_prefix(cookie_header, "") if _is_ours(name, token_cookie_name)]
    return tuple(render_expired_cookie(name) for name in dict.fromkeys(ours))


def _is_ours(name: str, token_cookie_name: str) -> bool:
    return name in (APP_SESSION_COOKIE, TEAM_COOKIE) or name.lower().startswith(token_cookie_name.lower())


def render_identity(session: Session, provider_type: str) -> dict[str, Any]:
    """The document of get-identity (reference/access-wire.md 2.8)."""
    identity = session.identity
    return {
        "id": identity.subject,
        "user_uuid": identity.subject,
        "name": identity.name,
        "email": identity.email,
        "amr": list(identity.auth_methods),
        "groups": list(identity.groups),
        "oidc_fields": dict(identity.claims),
        "idp": {"id": identity.provider_id, "type": provider_type},
        "geo": {"country": session.country},
        "ip": session.client_ip,
        "iat": session.created_at,
        "is_warp": False,
        "is_gateway": False,
        "auth_status": "NONE",
        "version": 1,
    }


def log_logout(session: Session | None, request: EndpointRequest, application: Application | None = None) -> None:
    """A session was ended by its person, or one application was left."""
    if session:
        log_event(
            "session.left" if application else "session.ended",
            app=application.id if application else None,
            reason="logout",
            session=session.id[:6],
            email=session.identity.email,
            ip=str(request.client.facts.client_ip),
            host=request.url.host,
        )
