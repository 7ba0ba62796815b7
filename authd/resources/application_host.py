"""The access endpoints of an application's host: `<prefix>/login`, `authorized`, `logout`, `get-identity`."""

from __future__ import annotations

from collections.abc import Callable

import falcon
import falcon.asgi

from authd.access import Access
from authd.audit import log_event
from authd.in_force import Policies
from authd.login import Login
from authd.logout import Logout
from authd.model import Session
from authd.policy.index import Application
from authd.resources.answers import Answers
from authd.resources.nginx_request import NginxHeaders, parse_check_request
from authd.resources.session import (
    EndpointRequest,
    expired_cookies,
    find_return_to,
    log_logout,
    parse_endpoint_request,
    read_form,
    render_identity,
)
from authd.urls import find_original_url, find_return_path, find_single, parse_query


class ApplicationHost:
    """Endpoints are methods; `add_routes` in the app gives them their paths."""

    def __init__(
        self,
        *,
        policies: Callable[[], Policies],
        access: Access,
        login: Login,
        logout: Logout,
        answers: Answers,
    ) -> None:
        self._policies = policies
        self._access = access
        self._login = login
        self._logout = logout
        self._answers = answers

    async def on_get_login(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Begin a login on purpose: with another account, or from a link of the application."""
        request = parse_endpoint_request(req)
        query = parse_query(request.query)
        return_path = find_return_path(find_single(query, "redirect_url") or "/") or "/"
        application = self._find_application(request, return_path)
        if application is None:
            return self._answers.not_found(resp)
        prompt = "select_account" if find_single(query, "prompt") == "select_account" else None
        redirect = self._login.begin(application, request.url.host, return_path, request.client.cookie_header, prompt)
        return self._answers.redirect(resp, redirect.location, redirect.cookies)

    async def on_get_authorized(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The end of a login: a one-time code becomes the application's cookie."""
        request = parse_endpoint_request(req)
        redirect = await self._login.redeem(request.query, request.url.host, request.client)
        log_event(
            "login.handed_over",
            host=request.url.host,
            ip=str(request.client.facts.client_ip),
            request_id=resp.context.reference,
            level="debug",
        )
        self._answers.redirect(resp, redirect.location, redirect.cookies)

    on_head_authorized = on_get_authorized

    async def on_get_get_identity(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Who the bearer of the application's token is, as JSON; 401 without a living session."""
        session, _ = await self._find_session(req, parse_endpoint_request(req))
        if session is None:
            return self._answers.no_session(resp)
        return self._answers.json(
            resp,
            falcon.HTTP_200,
            render_identity(session, self._policies().provider_type(session.identity.provider_id)),
        )

    async def on_get_logout(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Ask first, unless one of this host's own pages sent the person here: a foreign image must log nobody out."""
        request = parse_endpoint_request(req)
        if self._only_verifies(request.url.host):
            return self._answers.not_found(resp)
        return_to = find_return_to(request, {})
        if return_to and self._logout.find_return_url(return_to) is None:
            return self._answers.invalid_return_url(resp)
        if request.fetch_site == "same-origin":
            scope = find_single(parse_query(request.query), "scope") or ""
            return await self._log_out(req, resp, request, scope, return_to)
        session, application = await self._find_session(req, request)
        account = session.identity.account if session else None
        name = application.name if application else None
        return self._answers.logout_confirm(resp, account, application_name=name, return_to=return_to)

    async def on_post_logout(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """End the session everywhere, or in this application alone, and remove every cookie of ours from this host."""
        request, form = parse_endpoint_request(req), await read_form(req)
        if self._only_verifies(request.url.host):
            return self._answers.not_found(resp)
        return_to = find_return_to(request, form)
        if return_to and self._logout.find_return_url(return_to) is None:
            return self._answers.invalid_return_url(resp)
        if not request.is_own_form:
            return self._answers.logout_confirm(resp, None)
        scope = form.get("scope") or find_single(parse_query(request.query), "scope") or ""
        return await self._log_out(req, resp, request, scope, return_to)

    async def _log_out(
        self,
        req: falcon.asgi.Request,
        resp: falcon.asgi.Response,
        request: EndpointRequest,
        scope: str,
        unverified_return: str,
    ) -> None:
        session, application = await self._find_session(req, request)
        home = self._policies().index.public_origin(request.url.host)
        go_on = self._logout.find_return_url(unverified_return) if unverified_return else None
        is_left = scope == "application" and session is not None and application is not None
        if session and application and is_left:
            await self._logout.leave(session, application)
        elif session:
            go_on = await self._logout.end(session, return_url=go_on or f"{home}/") or go_on
        log_logout(session, request, application if is_left else None)
        cookies = expired_cookies(request.client.cookie_header, self._policies().config.cookie_name)
        left = application.name if application and is_left else None
        self._answers.logged_out(resp, cookies, start_url=home, go_on_url=go_on, left=left)

    async def _find_session(
        self, req: falcon.asgi.Request, request: EndpointRequest
    ) -> tuple[Session | None, Application | None]:
        """The living session of whichever application of this host the visitor has a token for, and that one."""
        check = parse_check_request(NginxHeaders(req.scope["headers"]))
        for application in self._policies().index.applications_on(request.url.host):
            session = await self._access.find_session(check, application)
            if session:
                return session, application
        return None, None

    def _only_verifies(self, host: str) -> bool:
        """Whether all sessions of this host are another edge's, where they end."""
        applications = self._policies().index.applications_on(host)
        return bool(applications) and all(application.issuer for application in applications)

    def _find_application(self, request: EndpointRequest, return_path: str) -> Application | None:
        target = find_original_url(f"https://{request.url.host}{return_path}")
        if target is None:
            return None
        found = self._policies().index.find_application(request.url.host, target.raw_path)
        # Nobody logs in here to an application that only verifies.
        return None if found and found.issuer else found
