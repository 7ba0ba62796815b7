"""The sections of an identity provider of type `onetimepin`: every key, default and sentence once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from authd.config import settings as kind
from authd.config.domains import parse_host_and_port
from authd.config.mistakes import SettingError
from authd.config.provider_section import ProviderSection
from authd.config.readers import is_loopback
from authd.config.sections import Section

_DEFAULT_PORTS = {"starttls": 587, "tls": 465, "none": 25}


class MailConfig(Section):
    """How codes leave authd."""

    server: kind.MailServer = Field(description="Host of the mail server, with a port where it is not the usual one.")
    encryption: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="`starttls` (port 587), `tls` (465), or `none` (25; loopback addresses only)."
    )
    ca_file: kind.AuthorityFile | None = Field(
        default=None, description="Certificates that vouch for the mail server, instead of the system's."
    )
    sender: kind.Sender = Field(description="From: `login@example.com` or `Example login <login@example.com>`.")
    username: kind.Text | None = Field(default=None, description="Name to log in with; without it nobody logs in.")
    password_file: kind.File | None = Field(default=None, description="File with the password that goes with it.")
    password_env: kind.Environment | None = Field(
        default=None, description="Environment variable with the password, instead of the file."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.password_file is not None and self.password_env is not None:
            raise SettingError("must not stand beside password_file", path=("password_env",))
        is_named = self.username is not None
        is_proved = self.password_file is not None or self.password_env is not None
        if is_named != is_proved:
            missing = "username" if is_proved else "password_file"
            raise SettingError("is needed: a user name goes with a password", path=(missing,), value="")
        if self.encryption == "none" and not is_loopback(self.host):
            message = "must not be none: the codes, and a password, would cross the network in clear"
            raise SettingError(message, path=("encryption",), allowed="starttls, tls")
        return self

    @property
    def host(self) -> str:
        return parse_host_and_port(self.server)[0]

    @property
    def port(self) -> int:
        return parse_host_and_port(self.server)[1] or _DEFAULT_PORTS[self.encryption]


class CodeRateLimit(Section):
    """How many codes may be asked for. The first two count everybody, the others only mails that would be sent."""

    per_address: kind.Limit = Field(default=30, description="Codes that one client address may ask for in a window.")
    per_network: kind.Limit = Field(default=100, description="The same for a network: a /24, or a /48 of IPv6.")
    per_email: kind.Limit = Field(
        default=5, description="Mails to one e-mail address in a window, asked for in one network."
    )
    per_email_and_day: kind.Limit = Field(default=20, description="The same in 24 hours.")
    per_email_and_hour: kind.Limit = Field(
        default=30, description="Mails to one e-mail address in an hour, but for where it has logged in before."
    )
    in_all: kind.Limit = Field(
        default=200, description="Mails of this provider in a window, but for where an address has logged in before."
    )
    window: kind.Window = Field(default="10m", validate_default=True, description="How long they are counted.")

    @property
    def window_seconds(self) -> int:
        return self.window


class OneTimePinConfig(ProviderSection):
    """People without an account anywhere: whoever reads the mail of an address is that address."""

    type: Literal["onetimepin"] = Field(description="`onetimepin`: a code of six digits by mail.")
    mail: MailConfig = Field(description="The mail server that takes the codes.")
    subject: kind.Label = Field(default="Your login code", description="Subject of the mail.")
    allow_subaddresses: kind.Flag = Field(
        default=False, description="Send to addresses with a `+` too, which let one mailbox be many people."
    )
    code_rate_limit: CodeRateLimit = Field(
        default={}, validate_default=True, description="How many codes may be asked for."
    )

    @property
    def secret_file(self) -> Path | None:
        return self.mail.password_file

    @property
    def secret_env(self) -> str | None:
        return self.mail.password_env
