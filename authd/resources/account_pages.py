"""What the team host shows people of their own: their applications, their sessions, and the ways out."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import falcon
import falcon.asgi

from authd.audit import OutageLog, log_event
from authd.cookies import find_cookie
from authd.errors import LoginLimitError, ProviderError
from authd.in_force import Policies
from authd.launcher import list_open_applications
from authd.login import TEAM_COOKIE, Login
from authd.login_steps import Client
from authd.logout import Logout
from authd.resources.answers import Answers
from authd.resources.session import EndpointRequest, expired_cookies, find_return_to, log_logout, read_form
from authd.resources.team_host import TeamHost
from authd.sessions import Sessions

MAX_LOGOUT_TOKEN_CHARACTERS = 32_768
MOST_SHOWN = 50
_TOO_MANY = "too many logout tokens that are not good came from one address"


class AccountPages:
    """Endpoints are methods; the app gives them their paths. All of them are the team host's."""

    def __init__(
        self,
        *,
        policies: Callable[[], Policies],
        login: Login,
        logout: Logout,
        sessions: Sessions,
        answers: Answers,
        host: TeamHost,
    ) -> None:
        self._policies = policies
        self._login = login
        self._logout = logout
        self._sessions = sessions
        self._answers = answers
        self._parse = host.parse
        # Anybody can post nonsense there: once a minute is enough of each kind.
        self._refusals = OutageLog(log=_warn)

    async def on_get_home(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The page at `/`: the applications that this person may open, and where they are logged in."""
        request = self._parse(req)
        session = await self._login.find_team_session(request.client)
        if session is None:
            return self._answers.launcher(resp, None, (), ())
        applications = list_open_applications(self._policies(), session, request.client)
        theirs = await self._sessions.list_of(session.identity.subject)
        # This one first, then the youngest.
        theirs.sort(key=lambda each: (each.id != session.id, -each.created_at))
        shown = theirs[:MOST_SHOWN]
        used_at = await self._sessions.last_uses(shown)
        used = list(zip(shown, used_at, strict=True))
        return self._answers.launcher(resp, session, applications, used, form_token=_form_token(request.client))

    on_head_home = on_get_home

    async def on_post_end_session(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """End one of one's own sessions, all others, or all (field `session`)."""
        request, form = self._parse(req), await read_form(req)
        own = await self._login.find_team_session(request.client)
        is_genuine = request.is_own_form and hmac.compare_digest(
            form.get("token", "").encode(), _form_token(request.client).encode()
        )
        if own is None or not is_genuine:
            return self._go_home(resp)
        chosen = form.get("session", "")
        if await self._logout.end_own(own, chosen):
            log_event(
                "session.ended",
                reason="ended by its person",
                which="all" if chosen == "all" else "others" if chosen == "others" else chosen[:6],
                email=own.identity.email,
                ip=str(request.client.facts.client_ip),
            )
        if chosen in ("all", own.id):
            cookies = expired_cookies(request.client.cookie_header, self._policies().config.cookie_name)
            return self._answers.logged_out(resp, cookies, start_url=None)
        return self._go_home(resp)

    async def on_get_logout(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Ask first, unless a page of this host sent the person here."""
        request = self._parse(req)
        return_to = find_return_to(request, {})
        if return_to and self._logout.find_return_url(return_to) is None:
            return self._answers.invalid_return_url(resp)
        if request.fetch_site == "same-origin":
            return await self._log_out(resp, request, return_to)
        session = await self._login.find_team_session(request.client)
        return self._answers.logout_confirm(resp, session.identity.account if session else None, return_to=return_to)

    async def on_post_logout(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """End the session everywhere, and remove every cookie of ours from this host."""
        request, form = self._parse(req), await read_form(req)
        return_to = find_return_to(request, form)
        if return_to and self._logout.find_return_url(return_to) is None:
            return self._answers.invalid_return_url(resp)
        if not request.is_own_form:
            return self._answers.logout_confirm(resp, None)
        return await self._log_out(resp, request, return_to)

    async def on_post_backchannel_logout(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """A provider says that somebody has logged out there (OpenID Connect Back-Channel Logout 1.0)."""
        request = self._parse(req)
        resp.set_header("Cache-Control", "no-store")
        token = (await read_form(req)).get("logout_token", "")
        try:
            address = request.client.facts.client_ip
            ended = await self._logout.end_by_provider(token[:MAX_LOGOUT_TOKEN_CHARACTERS], address)
        except LoginLimitError as error:
            self._refusals.report("logout.refused", key=error.kind, reason=error.kind, message=_TOO_MANY)
            resp.set_header("Retry-After", str(error.retry_after_seconds))
            return self._answers.json(resp, falcon.HTTP_429, {"error": "too_many_requests"})
        except ProviderError as error:
            self._refusals.report(
                "logout.refused",
                key=f"{error.provider_id} {error.cause}",
                idp=error.provider_id,
                reason=error.cause,
                message=str(error),
            )
            return self._answers.json(resp, falcon.HTTP_400, {"error": "invalid_request"})
        log_event("logout.by_provider", sessions=ended)
        resp.status = falcon.HTTP_200
        return None

    def _go_home(self, resp: falcon.asgi.Response) -> None:
        self._answers.redirect(resp, f"https://{self._policies().config.team_domain}/", ())
        resp.status = falcon.HTTP_303

    async def _log_out(self, resp: falcon.asgi.Response, request: EndpointRequest, unverified_return: str) -> None:
        session = await self._login.find_team_session(request.client)
        return_url = self._logout.find_return_url(unverified_return) if unverified_return else None
        home = f"https://{self._policies().config.team_domain}/"
        at_provider = await self._logout.end(session, return_url=return_url or home) if session else None
        log_logout(session, request)
        cookies = expired_cookies(request.client.cookie_header, self._policies().config.cookie_name)
        self._answers.logged_out(resp, cookies, start_url=None, go_on_url=at_provider or return_url)


def _warn(event: str, **fields: Any) -> None:
    log_event(event, **{**fields, "level": "warning"})


def _form_token(client: Client) -> str:
    """Proves that a form came from a page that this very session was shown. Says nothing about the cookie."""
    cookie = find_cookie(client.cookie_header, TEAM_COOKIE) or ""
    return hashlib.sha256(f"authd form of\n{cookie}".encode()).hexdigest()
