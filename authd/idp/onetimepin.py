"""Login with a code by mail: the provider is this very team host, and what it vouches for is that a mail was read.

The two steps of `in_force.Provider` are only half of it: the login asks for an address and a code in between, see
`pin_login.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from authd.config import parse_email
from authd.config.onetimepin import OneTimePinConfig
from authd.errors import ProviderRefusedError
from authd.idp.code_mail import CodeMail, compose
from authd.idp.identities import derive_subject
from authd.mail import MailServer, PostOffice
from authd.model import Identity, LogoutToken, Vouched
from authd.urls import encode_parameter

_VERIFY_CODE, _RESEND_CODE = "verify-code", "resend-code"
# Postfix and sendmail route by these within a local part: the owner of `mallory%evil.example@example.com` reads mail
# at evil.example, and would be somebody of example.com here.
_ROUTING = frozenset("%!")


class OneTimePinProvider:
    """One configured provider, for one worker and its event loop. Making it asks nobody anything."""

    def __init__(
        self,
        config: OneTimePinConfig,
        *,
        password: str | None,
        redirect_uri: str,
        clock: Callable[[], float],
    ) -> None:
        """`redirect_uri` is the team host's callback; the addresses of the codes stand beside it."""
        self.config = config
        self._clock = clock
        self._base_url = redirect_uri.removesuffix("callback")
        team = urlsplit(redirect_uri)
        self._team_origin = f"https://{team.netloc}"
        self._issuer = f"{self._team_origin}#onetimepin/{config.id}"
        mail = config.mail
        pem = mail.ca_file.pem if mail.ca_file else None
        server = MailServer(mail.host, mail.port, mail.encryption, mail.username, password, pem)
        self._post_office = PostOffice(server, local_host=team.hostname or "")

    async def begin(self, *, state: str, nonce: str, code_verifier: str, prompt: str | None) -> str:
        """Return the address of the page that asks for an address."""
        return self.page_url(state)

    async def finish(self, unverified_query: str, *, nonce: str, code_verifier: str) -> Vouched:
        """Raises ProviderRefusedError: nobody comes back from here by the callback."""
        raise ProviderRefusedError(self.config.id, "no_callback", "a login by code does not end at the callback")

    async def refresh(self, identity: Identity, refresh_token: str) -> Vouched:
        """Raises ProviderRefusedError: a mail box is not asked again before the session ends."""
        raise ProviderRefusedError(self.config.id, "no_refresh", "a login by code is not renewed")

    async def logout_url(self, id_token: str | None, *, return_url: str) -> str | None:
        """Nobody is logged in to a mail box by us."""
        return None

    async def read_logout_token(self, unverified_text: str) -> LogoutToken | None:
        """No mail server logs anybody out."""
        return None

    def page_url(self, state: str) -> str:
        """The address of the pages of one attempt."""
        return f"{self._base_url}{_VERIFY_CODE}?state={encode_parameter(state)}"

    def resend_url(self, state: str) -> str:
        """Where the form goes that asks for another code."""
        return f"{self._base_url}{_RESEND_CODE}?state={encode_parameter(state)}"

    def read_address(self, unverified_text: str) -> str | None:
        """The address in its one spelling, None if it is none or one that no code is ever sent to."""
        address = parse_email(unverified_text.strip())
        local = address.partition("@")[0] if address else ""
        if not local or _ROUTING.intersection(local) or ("+" in local and not self.config.allow_subaddresses):
            return None
        return address

    def identify(self, address: str) -> Identity:
        """Who somebody is that reads the mail of this address.

        No authentication method: RFC 8176's `otp` means a second factor (RFC 4226, RFC 6238) to whoever requires it.
        """
        return Identity(
            subject=derive_subject(self._issuer, address),
            provider_id=self.config.id,
            provider_subject=address,
            email=address,
            unverified_email=address,
            name=None,
            groups=(),
            auth_methods=(),
            authenticated_at=int(self._clock()),
        )

    async def send(self, mail: CodeMail, recipient: str) -> None:
        """Hand a code over to the mail server. Raises MailError."""
        message = compose(mail, recipient, settings=self.config, team_origin=self._team_origin, now=self._clock())
        sender = str(message["From"].addresses[0].addr_spec)
        await self._post_office.hand_over(message, sender=sender, recipient=recipient)

    def close(self) -> None:
        """Let go of the threads."""
        self._post_office.close()
