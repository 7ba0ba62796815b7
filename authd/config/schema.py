"""The configuration file: every key, its default and its sentence, declared once.

The JSON Schema for editors and a test of docs/configuration.md come from here. What spans several
parts of the file (names that must exist, cycles, duplicates) is in `references.py`.
Paths are resolved against the directory of the configuration file. Not checked here: that a file
or an environment variable named for a secret exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Self

from pydantic import Field, model_validator

from authd.config import settings as kind
from authd.config.domains import parse_host_and_port
from authd.config.identity_providers import AnyProvider, IdentityProviderConfig
from authd.config.mistakes import SettingError, raise_mistakes
from authd.config.sections import (
    CertificateAuthorityConfig,
    CorsHeaders,
    GroupConfig,
    ListConfig,
    LoginRateLimit,
    PolicyConfig,
    RuleSetSection,
    Section,
    TokenIssuerConfig,
)

__all__ = [
    "ApplicationConfig",
    "Config",
    "CorsHeaders",
    "GroupConfig",
    "IdentityProviderConfig",
    "ListConfig",
    "LoginRateLimit",
    "PolicyConfig",
    "RuleSetSection",
    "Section",
    "TokenIssuerConfig",
]


class ApplicationConfig(Section):
    """One application: what it covers, who gets in, and how its login looks."""

    not_built: ClassVar[frozenset[str]] = frozenset(
        (
            "allow_authenticate_via_warp",
            "allow_iframe",
            "custom_deny_url",
            "custom_non_identity_deny_url",
            "custom_pages",
            "destinations",
            "domain",
            "enable_binding_cookie",
            "http_only_cookie_attribute",
            "logo_url",
            "mfa_config",
            "oauth_configuration",
            "path_cookie_attribute",
            "same_site_cookie_attribute",
            "scim_config",
            "self_hosted_domains",
            "service_auth_401_redirect",
            "skip_interstitial",
            "tags",
            "type",
        )
    )

    id: kind.Identifier = Field(description="Stable name; nginx names it, and the AUD tag derives from it.")
    name: kind.Label = Field(default="", description="What pages show; the id if left out.")
    domains: kind.Domains = Field(description="What it covers: `host`, `host/path`, with wildcards.")
    aud: kind.Aud | None = Field(default=None, description="AUD tag of the tokens; derived from team domain and id.")
    issuer: kind.TeamIssuer | None = Field(
        default=None, description="Only verify: tokens come from the Access edge that has this issuer; no login here."
    )
    certs_url: kind.Issuer | None = Field(
        default=None, description="Where that issuer publishes its keys; `<issuer>/cdn-cgi/access/certs` if left out."
    )
    ca_file: kind.AuthorityFile | None = Field(
        default=None, description="Certificates that vouch for that issuer's host, instead of the system's."
    )
    session_duration: kind.SessionDuration | None = Field(
        default=None,
        description="How long a token of this application lives; the organisation's if left out.",
    )
    policies: tuple[PolicyConfig, ...] = Field(default=(), description="Who gets in; without any, nobody does.")
    allowed_idps: tuple[kind.Text, ...] = Field(default=(), description="Providers to offer; all of them if left out.")
    auto_redirect_to_identity: kind.Flag = Field(
        default=False, description="Skip the chooser; needs exactly one allowed provider."
    )
    app_launcher_visible: kind.Flag = Field(
        default=True, description="List it on the page at `/` of the team host for those who may open it."
    )
    options_preflight_bypass: kind.Flag = Field(
        default=False,
        description="Let CORS preflight requests through to the application; not with `cors_headers`.",
    )
    read_service_tokens_from_header: kind.CredentialHeader | None = Field(
        default=None,
        description="A header in which service tokens are read as well, as JSON; the application never sees those.",
    )
    cors_headers: CorsHeaders | None = Field(default=None, description="Let authd answer CORS preflight requests.")
    custom_deny_message: kind.Text | None = Field(default=None, description="A sentence of yours on the denied page.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        mistakes = list(self._find_mistakes_of_issuer())
        if self.options_preflight_bypass and self.cors_headers is not None:
            message = "must not be true together with cors_headers: either the application answers or authd"
            mistakes.append(SettingError(message, path=("options_preflight_bypass",)))
        raise_mistakes(mistakes)
        return self

    def _find_mistakes_of_issuer(self) -> Iterator[SettingError]:
        if self.issuer is None:
            for key in ("certs_url", "ca_file"):
                if getattr(self, key) is not None:
                    yield SettingError("has no meaning without issuer", path=(key,))
            return
        if self.aud is None:
            message = "is needed beside issuer: the tag that the edge gave to this application"
            yield SettingError(message, path=("aud",), value="", allowed="64 hexadecimal digits in lower case")
        for key in ("session_duration", "allowed_idps", "auto_redirect_to_identity"):
            if getattr(self, key):
                yield SettingError("has no meaning beside issuer: people log in at the edge", path=(key,))

    @property
    def keys_url(self) -> str:
        """Where the issuer of an application that only verifies publishes its keys."""
        return self.certs_url or f"{self.issuer}/cdn-cgi/access/certs"


class Config(Section):
    """The whole file. Attributes have the names of the keys; durations are whole seconds."""

    team_domain: kind.TeamDomain = Field(
        default="",
        description="The team host, with a port where it is not 443; `https://<team_domain>` is the issuer.",
    )
    listen: kind.Listen = Field(
        default="unix:/run/authd/authd.sock",
        description="Socket on which nginx asks: `unix:/path` or a loopback port.",
    )
    listen_secret_file: kind.File | None = Field(
        default=None,
        description="File with the secret that nginx sends; needed with a port, not with a unix socket.",
    )
    socket_group: kind.Text | None = Field(
        default=None, description="Group of nginx' workers, which may open the socket."
    )
    state: kind.State = Field(
        default="sqlite:/var/lib/authd/authd.db",
        description="Where sessions and keys are kept: a file of SQLite, or Redis.",
    )
    secret_file: kind.File = Field(
        default="/etc/authd/secret",
        validate_default=True,
        description="File with the keys that encrypt the state.",
    )
    path_prefix: kind.PathPrefix = Field(
        default="/cdn-cgi/access", description="Where the access endpoints live on every host."
    )
    cookie_name: kind.CookieName = Field(default="CF_AUTHORIZATION", description="The application's cookie.")
    session_duration: kind.SessionDuration = Field(
        default="24h", validate_default=True, description="How long a login lasts."
    )
    identity_refresh: kind.RefreshInterval = Field(
        default="1h",
        validate_default=True,
        description="How often providers are asked again who somebody is, 1m at least; `0s` for never.",
    )
    logout_return_urls: tuple[kind.Link, ...] = Field(
        default=(), description="Addresses outside of the applications' hosts where a logout may lead."
    )
    idle_timeout: kind.IdleTimeout | None = Field(
        default=None, description="How long a session may go unused, 5m at least; for ever if left out."
    )
    decision_cache_seconds: kind.CacheSeconds = Field(
        default=1, description="How long nginx may reuse a decision, 0 to 60; 0 asks every time."
    )
    store_outage_grace: kind.Grace = Field(
        default="5m",
        validate_default=True,
        description="How long people who are in stay in while the store is unreachable.",
    )
    workers: kind.Workers = Field(default=1, description="Worker processes: a number, or `auto` for one a core.")
    login_rate_limit: LoginRateLimit = Field(
        default={}, validate_default=True, description="How often one may try to log in."
    )
    geo_database: kind.GeoDatabase | None = Field(
        default=None, description="File in MaxMind's format (.mmdb) that knows the country of an address."
    )
    country_header: kind.Header | None = Field(
        default=None, description="Header in which the edge names the visitor's country, such as `CF-IPCountry`."
    )
    edge_variable: kind.NginxVariable = Field(
        default="edge_ok",
        description="nginx' variable that is 1 where the peer is the edge; nobody else's `country_header` is believed.",
    )
    allow_shared_team_host: kind.Flag = Field(
        default=False,
        description="Permit an application on the team host, whose scripts then share the login's origin.",
    )
    identity_providers: tuple[AnyProvider, ...] = Field(default=(), description="Who says who somebody is.")
    client_certificate_authorities: tuple[CertificateAuthorityConfig, ...] = Field(
        default=(), description="Whose client certificates rules may ask for."
    )
    token_issuers: tuple[TokenIssuerConfig, ...] = Field(
        default=(), description="Whose bearer tokens machines may bring."
    )
    groups: tuple[GroupConfig, ...] = Field(default=(), description="Named sets of rules.")
    lists: tuple[ListConfig, ...] = Field(default=(), description="Named lists of addresses or networks.")
    applications: tuple[ApplicationConfig, ...] = Field(default=(), description="What is protected, and from whom.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.listen.startswith("unix:") and self.listen_secret_file is None:
            message = "is needed when listen is a port: any local user could otherwise pose as nginx"
            raise SettingError(message, path=("listen_secret_file",), value="")
        if not self.team_domain and not (self.applications and all(each.issuer for each in self.applications)):
            raise SettingError("is missing", path=("team_domain",), value="")
        return self

    @property
    def team_host(self) -> str:
        """Empty without a team domain: then there is no login, and no key of ours."""
        return parse_host_and_port(self.team_domain)[0] if self.team_domain else ""

    @property
    def team_port(self) -> int | None:
        """The port of the team domain, None for 443."""
        return parse_host_and_port(self.team_domain)[1] if self.team_domain else None

    @property
    def issuer(self) -> str:
        """Of our own tokens."""
        return f"https://{self.team_domain}"

    @property
    def session_duration_seconds(self) -> int:
        return self.session_duration

    @property
    def longest_token_seconds(self) -> int:
        """How long any token can live: the longest of what organisation, applications and policies allow."""
        applications = [each.session_duration or 0 for each in self.applications]
        policies = [policy.session_duration or 0 for each in self.applications for policy in each.policies]
        return max(self.session_duration, *applications, *policies)

    @property
    def store_outage_grace_seconds(self) -> int:
        return self.store_outage_grace
