"""The answers that people and scripts see, each once: status, headers, page or JSON. No decisions are made here.

The JSON of a refusal is the same whatever was wrong with a token: it must not tell a forger how far they got.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import falcon
import falcon.asgi

from authd.errors import LoginError, LoginLimitError
from authd.login_steps import AskAddress, AskCode, Choose, Denied, Elsewhere, Redirect
from authd.model import Decision, Reason, Session
from authd.pin_requests import CODE_SECONDS
from authd.policy.domains import find_configured_host
from authd.policy.index import Application
from authd.resources.pages import Page, Pages, ProviderChoice, security_headers
from authd.resources.session_lines import describe_session
from authd.urls import encode_parameter

_DENIED_SENTENCES = {
    Reason.POLICY_DENY: "A policy of this application refuses your account.",
    Reason.NO_POLICY_MATCHED: "No policy of this application admits your account.",
    Reason.CONFLICTING_SESSIONS: "Your browser sent the sessions of two different people at once.",
    Reason.APPLICATION_UNKNOWN: "No application is configured for this address.",
    Reason.APPLICATION_MISMATCH: "The web server and authd disagree about which application this address belongs to.",
}
_ANONYMOUS_DENIED = "Nobody is admitted to this application from your network."
_URL_SENTENCES = {
    Reason.AMBIGUOUS_URL: "This address can be read in more than one way, so it is not passed on.",
    Reason.MALFORMED_REQUEST: "This request could not be read.",
}
_LOOP_CAUSES = {
    Reason.NO_CREDENTIAL: (
        "Your browser does not send back the cookie that the login sets.",
        "Allow cookies for this host; privacy extensions and embedded windows often block them.",
    ),
    Reason.TOKEN_EXPIRED: (
        "The token of the login has already expired when it arrives.",
        "The clock of the web server or of authd is probably wrong.",
    ),
    Reason.TOKEN_NOT_YET_VALID: (
        "The token of the login is not valid yet when it arrives.",
        "The clocks of two servers probably differ by more than a minute.",
    ),
    Reason.TOKEN_AUDIENCE: (
        "The token of the login belongs to another application.",
        "Two applications probably share one cookie on this host; their domains overlap in the configuration.",
    ),
    Reason.SESSION_UNKNOWN: (
        "The session that the login made is not known where it is checked.",
        "Two servers probably do not share one store.",
    ),
    Reason.TOKEN_KEY_UNKNOWN: (
        "The token of the login was signed with a key that is not known where it is checked.",
        "Two servers probably do not share one store and one secret.",
    ),
}
_LOOP_DEFAULT = ("The token of the login is refused where it is checked.", "The log names the reason.")


class Answers:
    """Fills falcon's response. `origin_of` gives `https://host[:port]` of a configured host."""

    def __init__(self, pages: Pages, *, path_prefix: str, origin_of: Callable[[str], str]) -> None:
        self._pages = pages
        self._prefix = path_prefix
        self._origin_of = origin_of

    def page(self, resp: falcon.asgi.Response, status: str, page: Page) -> None:
        """Any page, with the headers that every page has."""
        resp.status = status
        resp.content_type = "text/html; charset=utf-8"
        resp.set_headers(dict(security_headers()))
        resp.text = page.html

    def json(self, resp: falcon.asgi.Response, status: str, document: dict[str, Any]) -> None:
        """Any JSON answer."""
        resp.status = status
        resp.set_headers({"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})
        resp.media = document

    def redirect(self, resp: falcon.asgi.Response, location: str, cookies: tuple[str, ...]) -> None:
        """302, never cached. `location` is always an absolute address that we built."""
        resp.status = falcon.HTTP_302
        resp.content_type = "text/plain"
        resp.set_headers({"Location": location, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
        for cookie in cookies:
            resp.append_header("Set-Cookie", cookie)

    def name_application(self, resp: falcon.asgi.Response, application: Application, host: str) -> None:
        """cloudflared finds an application by these (reference/access-wire.md 6.1 A)."""
        resp.set_header("CF-Access-Aud", application.aud)
        resp.set_header("CF-Access-Domain", find_configured_host(application.domains, host) or host)

    def login_required_json(self, resp: falcon.asgi.Response, login_url: str) -> None:
        """For scripts: 401 and where to log in, never a redirect to another origin."""
        resp.set_header("WWW-Authenticate", 'Cloudflare-Access realm="authd"')
        self.json(resp, falcon.HTTP_401, {"error": "login_required", "login_url": login_url})

    def service_token_refused(self, resp: falcon.asgi.Response) -> None:
        """401 for a machine: no way to a login, and the same whatever was wrong."""
        resp.set_header("WWW-Authenticate", 'Cloudflare-Access realm="authd"')
        self.json(resp, falcon.HTTP_401, {"error": "service_token_invalid", "reference": _reference(resp)})

    def login_needed(
        self, resp: falcon.asgi.Response, application: Application, host: str, return_path: str, method: str
    ) -> None:
        """For a form that was sent without a session."""
        resp.set_header("WWW-Authenticate", 'Cloudflare-Access realm="authd"')
        page = self._pages.login_needed(
            application_name=application.name,
            host=host,
            login_url=self._origin_of(host) + return_path,
            method=method,
        )
        self.page(resp, falcon.HTTP_401, page)

    def bearer_refused(self, resp: falcon.asgi.Response) -> None:
        """401 for a machine (RFC 6750 3): JSON, never a login. The same whatever was wrong with its token."""
        resp.set_header("WWW-Authenticate", 'Bearer realm="authd", error="invalid_token"')
        self.json(resp, falcon.HTTP_401, {"error": "invalid_token", "reference": _reference(resp)})

    def edge_needed(self, resp: falcon.asgi.Response, application: Application, host: str, *, as_page: bool) -> None:
        """401 where people log in at another edge. The same whatever was wrong with its token."""
        resp.set_header("WWW-Authenticate", 'Cloudflare-Access realm="authd"')
        if not as_page:
            document = {"error": "edge_token_required", "issuer": application.issuer, "reference": _reference(resp)}
            return self.json(resp, falcon.HTTP_401, document)
        page = self._pages.edge_needed(
            application_name=application.name, host=host, edge=application.issuer or "", reference=_reference(resp)
        )
        return self.page(resp, falcon.HTTP_401, page)

    def denied(
        self,
        resp: falcon.asgi.Response,
        decision: Decision,
        *,
        application: Application | None,
        host: str,
        return_path: str,
        account: str | None,
        as_page: bool,
    ) -> None:
        """403: says which account, which application, and why."""
        sentence = _DENIED_SENTENCES.get(decision.reason, _ANONYMOUS_DENIED)
        if account is None and decision.reason in (Reason.POLICY_DENY, Reason.NO_POLICY_MATCHED):
            sentence = _ANONYMOUS_DENIED
        if not as_page:
            return self.json(
                resp, falcon.HTTP_403, {"error": "denied", "message": sentence, "reference": _reference(resp)}
            )
        page = self._pages.denied(
            application_name=application.name if application else host,
            host=host,
            account=account,
            sentence=sentence,
            reference=_reference(resp),
            custom_message=application.custom_deny_message if application else None,
            # Where only tokens are verified, the login is the edge's.
            switch_url=None if application and application.issuer else self.switch_url(host, return_path),
            logout_action=f"{self._prefix}/logout",
        )
        return self.page(resp, falcon.HTTP_403, page)

    def denied_after_login(self, resp: falcon.asgi.Response, denied: Denied) -> None:
        """The same page, on the team host."""
        self.denied(
            resp,
            denied.decision,
            application=denied.application,
            host=denied.host,
            return_path=denied.return_path,
            account=denied.session.identity.account if denied.session else None,
            as_page=True,
        )
        for cookie in denied.cookies:
            resp.append_header("Set-Cookie", cookie)

    def switch_url(self, host: str, return_path: str) -> str:
        """Where a login with another account begins."""
        path = f"{self._prefix}/login?prompt=select_account&redirect_url={encode_parameter(return_path)}"
        return self._origin_of(host) + path

    def chooser(self, resp: falcon.asgi.Response, choose: Choose) -> None:
        """Which identity provider?"""
        page = self._pages.chooser(
            application_name=choose.application.name,
            host=choose.host,
            providers=[ProviderChoice(name, url) for name, url in choose.choices],
        )
        self.page(resp, falcon.HTTP_200, page)

    def code_step(self, resp: falcon.asgi.Response, step: AskAddress | AskCode | Elsewhere) -> None:
        """A page of a login by mail: 400 after a mistake, 429 after too many."""
        if isinstance(step, Elsewhere):
            return self.page(resp, falcon.HTTP_200, self._pages.pin_elsewhere())
        status = falcon.HTTP_400 if step.mistake else falcon.HTTP_200
        name, host = step.application.name, step.host
        if isinstance(step, AskAddress):
            page = self._pages.pin_address(application_name=name, host=host, action=step.page_url, mistake=step.mistake)
            return self.page(resp, status, page)
        page = self._pages.pin_code(
            application_name=name,
            host=host,
            email=step.email,
            valid_minutes=CODE_SECONDS // 60,
            action=step.page_url,
            resend_action=step.resend_url,
            again_url=f"{step.page_url}&again=1",
            key=step.key,
            mistake=step.mistake,
            exhausted=step.exhausted,
        )
        return self.page(resp, falcon.HTTP_429 if step.exhausted else status, page)

    def go_on_after_form(self, resp: falcon.asgi.Response, found: Redirect) -> None:
        """303 to a page of ours (RFC 9110 15.4.4), or to an application by way of a page: see `Pages.logged_in`."""
        if found.session is None:
            self.redirect(resp, found.location, found.cookies)
            resp.status = falcon.HTTP_303
            return
        host = found.location.removeprefix("https://").partition("/")[0]
        self.page(resp, falcon.HTTP_200, self._pages.logged_in(host=host, url=found.location))
        for cookie in found.cookies:
            resp.append_header("Set-Cookie", cookie)

    def login_failed(self, resp: falcon.asgi.Response, error: LoginError) -> None:
        """400 or 429, with a way to start again."""
        if isinstance(error, LoginLimitError):
            resp.set_header("Retry-After", str(error.retry_after_seconds))
            page = self._pages.too_many_attempts(
                retry_after_seconds=error.retry_after_seconds, reference=_reference(resp)
            )
            return self.page(resp, falcon.HTTP_429, page)
        page = self._pages.login_failed(
            title="The login could not be finished",
            sentence=error.sentence,
            reference=_reference(resp),
            start_url=error.return_url,
        )
        return self.page(resp, falcon.code_to_http_status(error.status), page)

    def login_loop(self, resp: falcon.asgi.Response, reason: Reason, host: str, return_path: str) -> None:
        """The login works, and still nobody is logged in: say why, instead of going round."""
        cause, advice = _LOOP_CAUSES.get(reason, _LOOP_DEFAULT)
        page = self._pages.login_loop(
            cause=cause,
            advice=advice,
            host=host,
            # The page itself would show this again for a minute; a login that is begun on purpose tries once more.
            start_url=f"{self._origin_of(host)}{self._prefix}/login?redirect_url={encode_parameter(return_path)}",
            reference=_reference(resp),
        )
        self.page(resp, falcon.HTTP_403, page)

    def logout_confirm(
        self,
        resp: falcon.asgi.Response,
        account: str | None,
        *,
        application_name: str | None = None,
        return_to: str = "",
    ) -> None:
        """Ask before anybody is logged out by a link."""
        page = self._pages.logout_confirm(
            account=account,
            action=f"{self._prefix}/logout",
            return_to=return_to,
            application_name=application_name,
        )
        self.page(resp, falcon.HTTP_200, page)

    def invalid_return_url(self, resp: falcon.asgi.Response) -> None:
        """400 of a logout that would lead elsewhere. Nobody was logged out."""
        sentence = "Invalid redirect URL. A logout leads to an application here, or to what its operator lists."
        self.page(resp, falcon.HTTP_400, self._pages.malformed(sentence=sentence, reference=_reference(resp)))

    def logged_out(
        self,
        resp: falcon.asgi.Response,
        cookies: tuple[str, ...],
        *,
        start_url: str | None,
        go_on_url: str | None = None,
        left: str | None = None,
    ) -> None:
        """The session has ended, or one application was left (`left` names it). `go_on_url`: where to go on."""
        page = self._pages.logged_out(
            start_url=start_url,
            provider_note=go_on_url is None,
            go_on_url=go_on_url,
            left=left,
            logout_action=f"{self._prefix}/logout",
        )
        self.page(resp, falcon.HTTP_200, page)
        for cookie in cookies:
            resp.append_header("Set-Cookie", cookie)

    def launcher(
        self,
        resp: falcon.asgi.Response,
        session: Session | None,
        applications: Sequence[tuple[str, str]],
        sessions: Sequence[tuple[Session, int]],
        *,
        form_token: str = "",
    ) -> None:
        """The page at the root of the team host. `sessions` with the time of their last noted use, in Unix seconds."""
        page = self._pages.launcher(
            account=session.identity.account if session else None,
            applications=applications,
            sessions=[describe_session(each, used_at, own=session) for each, used_at in sessions],
            end_action=f"{self._prefix}/end-session",
            form_token=form_token,
            logout_action=f"{self._prefix}/logout",
        )
        self.page(resp, falcon.HTTP_200, page)

    def no_session(self, resp: falcon.asgi.Response) -> None:
        """401 of get-identity."""
        resp.set_header("WWW-Authenticate", 'Cloudflare-Access realm="authd"')
        self.json(resp, falcon.HTTP_401, {"error": "no_session"})

    def not_found(self, resp: falcon.asgi.Response) -> None:
        """404: no such endpoint, or none on this host."""
        self.json(resp, falcon.HTTP_404, {"error": "not_found"})

    def malformed(self, resp: falcon.asgi.Response, reason: Reason, *, as_page: bool) -> None:
        """400: the address or the request itself."""
        sentence = _URL_SENTENCES[reason]
        if not as_page:
            return self.json(resp, falcon.HTTP_400, {"error": reason.value, "message": sentence})
        return self.page(resp, falcon.HTTP_400, self._pages.malformed(sentence=sentence, reference=_reference(resp)))

    def outage(self, resp: falcon.asgi.Response, sentence: str, what: str = "authd") -> None:
        """503: a part of ours or the provider does not answer. Deletes no cookie."""
        resp.set_header("Retry-After", "5")
        page = self._pages.outage(sentence=sentence, what=what, reference=_reference(resp))
        self.page(resp, falcon.HTTP_503, page)

    def unforeseen(self, resp: falcon.asgi.Response) -> None:
        """500: a mistake of ours, with the reference under which it is in the log. Deletes no cookie."""
        sentence = "Something went wrong on our side. You have not been logged out; please try again."
        page = self._pages.outage(sentence=sentence, what="authd", reference=_reference(resp))
        self.page(resp, falcon.HTTP_500, page)


def _reference(resp: falcon.asgi.Response) -> str:
    """What a person reads out to the operator: nginx' request id, which stands in both logs."""
    return str(getattr(resp.context, "reference", ""))
