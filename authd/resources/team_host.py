"""The team host: `<prefix>/login/<host>`, `callback`, `logout`, `get-identity`, and the page at `/`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import falcon
import falcon.asgi

from authd.attempts import Attempt
from authd.audit import log_event
from authd.errors import LoginError, ProviderError, ProviderRefusedError, ProviderUnavailableError
from authd.in_force import Policies
from authd.login import Login
from authd.login_steps import AskAddress, AskCode, Choose, Denied, Elsewhere, Redirect
from authd.metrics import Metrics
from authd.resources.answers import Answers
from authd.resources.session import (
    EndpointRequest,
    parse_endpoint_request,
    render_identity,
)
from authd.urls import find_host

_REFUSALS = {
    "suspended": "says that your account is suspended.",
    "tenant_not_allowed": "knows you, but your organisation is not one of those that may log in here.",
}
Next = Redirect | Choose | Denied | AskAddress | AskCode | Elsewhere


class TeamHost:
    """Endpoints are methods; `add_routes` in the app gives them their paths."""

    def __init__(
        self,
        *,
        policies: Callable[[], Policies],
        login: Login,
        answers: Answers,
        metrics: Metrics,
    ) -> None:
        self._policies = policies
        self._login = login
        self._answers = answers
        self._metrics = metrics

    async def on_get_login(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, host: str) -> None:
        """Begin a login for an application's host, or end it at once for somebody who is logged in."""
        request = self.parse(req)
        application_host = find_host(host)
        if application_host is None:
            return self._answers.not_found(resp)
        query = request.query
        application = self._login.find_application(query, application_host)
        if application:
            self._answers.name_application(resp, application, application_host)
        return await self.go_on(resp, request, lambda: self._login.start(application_host, query, request.client))

    on_head_login = on_get_login

    async def on_get_callback(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The identity provider sends the person back."""
        request = self.parse(req)
        return await self.go_on(resp, request, lambda: self._login.finish(request.query, request.client))

    async def go_on(
        self, resp: falcon.asgi.Response, request: EndpointRequest, step: Callable[[], Awaitable[Next]]
    ) -> None:
        """Take a step of the login, log how it ended, and answer."""
        attempt = self._login.find_attempt(request.query, request.client)
        try:
            found = await step()
        except LoginError as error:
            self._log_failure(resp, request, attempt.provider_id if attempt else None, error.code, str(error))
            return self._answers.login_failed(resp, error)
        except ProviderError as error:
            self._log_failure(resp, request, error.provider_id, error.cause, str(error))
            return self._answer_provider_error(resp, error, self._login.return_url(attempt) if attempt else None)
        if isinstance(found, Choose):
            return self._answers.chooser(resp, found)
        if isinstance(found, AskAddress | AskCode | Elsewhere):
            return self._answers.code_step(resp, found)
        self._log_success(resp, request, attempt, found)
        if isinstance(found, Denied):
            return self._answers.denied_after_login(resp, found)
        if request.is_post:
            return self._answers.go_on_after_form(resp, found)
        return self._answers.redirect(resp, found.location, found.cookies)

    def _answer_provider_error(self, resp: falcon.asgi.Response, error: ProviderError, return_url: str | None) -> None:
        name = self._policies().provider_name(error.provider_id)
        if isinstance(error, ProviderUnavailableError):
            return self._answers.outage(resp, f"{name} does not answer, so nobody can log in with it just now.", name)
        if isinstance(error, ProviderRefusedError):
            said = _REFUSALS.get(error.cause, "did not confirm who you are; perhaps you cancelled.")
            sentence = f"{name} {said}"
        else:
            sentence = f"The answer of {name} could not be trusted, so you were not logged in."
        return self._answers.login_failed(resp, LoginError(error.cause, 400, sentence, return_url))

    def _log_failure(
        self, resp: falcon.asgi.Response, request: EndpointRequest, idp: str | None, reason: str, message: str
    ) -> None:
        self._metrics.count_login(idp or "", "failed")
        log_event(
            "login.failed",
            level="warning",
            idp=idp,
            reason=reason,
            message=message,
            ip=str(request.client.facts.client_ip),
            request_id=resp.context.reference,
        )

    def _log_success(
        self, resp: falcon.asgi.Response, request: EndpointRequest, attempt: Attempt | None, found: Redirect | Denied
    ) -> None:
        """A person came back from the provider, or was refused: the reference on the denied page has to be in the log.

        Being handed over by a session that lived already is no login.
        """
        denied = found if isinstance(found, Denied) else None
        if found.session is None or (attempt is None and denied is None):
            return
        outcome = "denied" if denied else "success"
        if attempt:
            self._metrics.count_login(attempt.provider_id, outcome)
        log_event(
            f"login.{outcome}",
            reason=denied.decision.reason.value if denied else None,
            policy=denied.decision.policy_name if denied else None,
            rule=denied.decision.rule if denied else None,
            idp=found.session.identity.provider_id,
            app=denied.application.id if denied else attempt and attempt.application_id,
            host=denied.host if denied else attempt and attempt.host,
            email=found.session.identity.email,
            session=found.session.id[:6],
            ip=str(request.client.facts.client_ip),
            request_id=resp.context.reference,
        )

    async def on_get_get_identity(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Who the bearer of the team's session is, or of an application's token, as JSON; 401 without one.

        An application asks with the token that it was shown, as Cloudflare's libraries do.
        """
        client = self.parse(req).client
        session = await self._login.find_team_session(client) or await self._login.find_application_session(client)
        if session is None:
            return self._answers.no_session(resp)
        return self._answers.json(
            resp,
            falcon.HTTP_200,
            render_identity(session, self._policies().provider_type(session.identity.provider_id)),
        )

    def parse(self, req: falcon.asgi.Request) -> EndpointRequest:
        """The request, if nginx' team server sent it: an application's host must not speak for the team's."""
        request = parse_endpoint_request(req)
        if request.url.host != self._policies().config.team_host:
            raise falcon.HTTPNotFound
        return request
