"""The team host's pages of a login by mail: `<prefix>/verify-code` and `resend-code`.

A GET changes nothing. A POST counts only from a form of ours, and only with the cookie of the attempt that its address
names.
"""

from __future__ import annotations

import falcon.asgi

from authd.login_steps import AskAddress, AskCode, Denied, Elsewhere, Redirect
from authd.pin_login import PinLogin
from authd.resources.session import EndpointRequest, read_form
from authd.resources.team_host import TeamHost

_Step = AskAddress | AskCode | Elsewhere | Redirect | Denied


class CodePages:
    """Endpoints are methods; `add_routes` in the app gives them their paths."""

    def __init__(self, pins: PinLogin, team_host: TeamHost) -> None:
        self._pins = pins
        self._team_host = team_host

    async def on_get_verify_code(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The page that asks for an address, or for the code."""
        request = self._team_host.parse(req)
        return await self._team_host.go_on(resp, request, lambda: self._show(request))

    on_head_verify_code = on_get_verify_code

    async def on_post_verify_code(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """An address, a code, or the confirmation of a link."""
        request = self._team_host.parse(req)
        form = await read_form(req)
        return await self._team_host.go_on(resp, request, lambda: self._take(request, form))

    async def on_post_resend_code(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Another code, to the same address."""
        request = self._team_host.parse(req)
        return await self._team_host.go_on(resp, request, lambda: self._resend(request))

    async def _show(self, request: EndpointRequest) -> _Step:
        return self._pins.show(request.query, request.client)

    async def _take(self, request: EndpointRequest, form: dict[str, str]) -> _Step:
        if not request.is_own_form:
            return await self._show(request)
        if "email" in form:
            return await self._pins.ask(request.query, form["email"], request.client)
        return await self._pins.verify(request.query, form.get("code", ""), form.get("key", ""), request.client)

    async def _resend(self, request: EndpointRequest) -> _Step:
        if not request.is_own_form:
            return await self._show(request)
        return await self._pins.resend(request.query, request.client)
