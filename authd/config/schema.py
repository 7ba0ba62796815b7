"""The configuration file: every key, its default and its sentence, declared once.

The JSON Schema for editors and a test of docs/configuration.md come from here. What spans several
parts of the file (names that must exist, cycles, duplicates) is in `references.py`.
Paths are resolved against the directory of the configuration file. Not checked here: that a file
or an environment variable named for a secret exists.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from authd.config import settings as kind
from authd.config.domains import parse_host_and_port
from authd.config.list_entries import load_entries
from authd.config.mistakes import SettingError, raise_mistakes
from authd.config.selectors import Network, parse_network, read_email


class Section(BaseModel):
    """One mapping of the file. Unknown keys are mistakes, and no error repeats the input."""

    not_built: ClassVar[frozenset[str]] = frozenset()
    """Keys of Cloudflare's API that people may bring along and that this version does not have."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class LoginRateLimit(Section):
    per_address: kind.Limit = Field(default=30, description="Login attempts per client address and window.")
    per_person: kind.Limit = Field(default=10, description="Login attempts per person and window.")
    window: kind.Window = Field(default="1m", validate_default=True, description="How long attempts are counted.")

    @property
    def window_seconds(self) -> int:
        return self.window


class IdentityProviderConfig(Section):
    id: kind.Identifier = Field(description="Stable name; rules and sessions refer to it.")
    type: Literal["oidc"] = Field(description="Kind of provider; this version has `oidc`.")
    name: kind.Label = Field(default="", description="What the chooser page shows; the id if left out.")
    issuer: kind.Issuer = Field(description="The OpenID Connect issuer; discovery starts here.")
    client_id: kind.Text = Field(description="The client id that the provider gave to authd.")
    client_secret_file: kind.File | None = Field(
        default=None,
        description="File with the client secret; without any secret authd is a public client (PKCE alone).",
    )
    client_secret_env: kind.Environment | None = Field(
        default=None, description="Environment variable with the client secret, instead of the file."
    )
    scopes: kind.Scopes = Field(
        default=("openid", "email", "profile"), description="Scopes to ask for; `openid` must be among them."
    )
    claims: tuple[kind.Text, ...] = Field(
        default=(), description="Claims to keep with the identity, for `oidc` rules and the token's `custom`."
    )
    email_claim: kind.Text = Field(default="email", description="The claim that holds the e-mail address.")
    groups_claim: kind.Text = Field(default="groups", description="The claim that holds the groups.")
    assume_email_verified: kind.Flag = Field(
        default=False, description="Believe addresses of a provider that never says whether it verified them."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.client_secret_file is not None and self.client_secret_env is not None:
            raise SettingError("must not stand beside client_secret_file", path=("client_secret_env",))
        return self

    @property
    def display_name(self) -> str:
        return self.name or self.id


class RuleSetSection(Section):
    """The three lists of rules: any of `include`, all of `require`, none of `exclude`."""

    include: kind.Include = Field(description="Rules of which at least one must match.")
    require: tuple[kind.RuleValue, ...] = Field(default=(), description="Rules that must all match.")
    exclude: tuple[kind.RuleValue, ...] = Field(default=(), description="Rules of which none may match.")


class GroupConfig(RuleSetSection):
    name: kind.Label = Field(description="The name that `group` rules use.")


class ListConfig(Section):
    """Addresses or networks, from the file itself and from one beside it."""

    _emails: frozenset[str] = PrivateAttr(frozenset())
    _networks: tuple[Network, ...] = PrivateAttr(())

    name: kind.Label = Field(description="The name that `email_list` and `ip_list` rules use.")
    type: Literal["email", "ip"] = Field(description="`email` (addresses) or `ip` (addresses and networks).")
    items: tuple[kind.Text, ...] = Field(default=(), description="The entries.")
    file: kind.File | None = Field(default=None, description="File with one entry a line; `#` begins a comment.")

    @model_validator(mode="after")
    def _require_entries(self) -> Self:
        if not self.items and self.file is None:
            raise SettingError("needs items or file", value="")
        if self.type == "email":
            self._emails = frozenset(load_entries(self.items, self.file, read_email))
        else:
            self._networks = tuple(load_entries(self.items, self.file, parse_network))
        return self

    @property
    def emails(self) -> frozenset[str]:
        """The addresses of a list of type `email`, as `parse_email` returns them."""
        return self._emails

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks of a list of type `ip`, in the order of the file."""
        return self._networks


class PolicyConfig(RuleSetSection):
    name: kind.Label = Field(description="What logs, pages and `explain` call the policy.")
    id: kind.Identifier | None = Field(
        default=None,
        description="The token's `policy_id`; by default derived from application, name and position.",
    )
    decision: Literal["allow", "deny", "bypass", "non_identity"] = Field(
        description="`allow`, `deny`, `bypass` (no login at all) or `non_identity` (machines)."
    )


class CorsHeaders(Section):
    """authd answers preflight requests itself (access-wire 4.3)."""

    allowed_origins: tuple[kind.Origin, ...] = Field(default=(), description="Origins that may ask.")
    allow_all_origins: kind.Flag = Field(default=False, description="Any origin may ask; not with credentials.")
    allowed_methods: tuple[kind.Method, ...] = Field(default=(), description="Methods that may be used.")
    allow_all_methods: kind.Flag = Field(default=False, description="Any method may be used.")
    allowed_headers: tuple[kind.Header, ...] = Field(default=(), description="Request headers that may be sent.")
    allow_all_headers: kind.Flag = Field(default=False, description="Any request header may be sent.")
    allow_credentials: kind.Flag = Field(default=False, description="Whether cookies may be sent along.")
    max_age: kind.MaxAge | None = Field(
        default=None, description="Seconds a browser may remember the answer; -1 forbids it."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        mistakes = [
            SettingError(f"must not be true beside allowed_{what}", path=(f"allow_all_{what}",))
            for what in ("origins", "methods", "headers")
            if getattr(self, f"allowed_{what}") and getattr(self, f"allow_all_{what}")
        ]
        # Any site could then read the application with the visitor's cookie.
        if self.allow_credentials and self.allow_all_origins:
            mistakes.append(SettingError("must not be true with allow_all_origins", path=("allow_credentials",)))
        raise_mistakes(mistakes)
        return self


class ApplicationConfig(Section):
    id: kind.Identifier = Field(description="Stable name; nginx names it, and the AUD tag derives from it.")
    name: kind.Label = Field(default="", description="What pages show; the id if left out.")
    domains: kind.Domains = Field(description="What it covers: `host`, `host/path`, with wildcards.")
    aud: kind.Aud | None = Field(default=None, description="AUD tag of the tokens; derived from team domain and id.")
    session_duration: kind.SessionDuration | None = Field(
        default=None,
        description="How long a token of this application lives; the organisation's if left out.",
    )
    policies: tuple[PolicyConfig, ...] = Field(default=(), description="Who gets in; without any, nobody does.")
    allowed_idps: tuple[kind.Text, ...] = Field(default=(), description="Providers to offer; all of them if left out.")
    auto_redirect_to_identity: kind.Flag = Field(
        default=False, description="Skip the chooser; needs exactly one allowed provider."
    )
    options_preflight_bypass: kind.Flag = Field(
        default=False,
        description="Let CORS preflight requests through to the application; not with `cors_headers`.",
    )
    cors_headers: CorsHeaders | None = Field(default=None, description="Let authd answer CORS preflight requests.")
    custom_deny_message: kind.Text | None = Field(default=None, description="A sentence of yours on the denied page.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.options_preflight_bypass and self.cors_headers is not None:
            message = "must not be true together with cors_headers: either the application answers or authd"
            raise SettingError(message, path=("options_preflight_bypass",))
        return self


class Config(Section):
    """The whole file. Attributes have the names of the keys; durations are whole seconds."""

    team_domain: kind.TeamDomain = Field(
        description="The team host, with a port where it is not 443; `https://<team_domain>` is the issuer."
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
    state: kind.State = Field(default="sqlite:/var/lib/authd/authd.db", description="Where sessions and keys are kept.")
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
    decision_cache_seconds: kind.CacheSeconds = Field(
        default=1, description="How long nginx may reuse a decision, 0 to 60; 0 asks every time."
    )
    store_outage_grace: kind.Grace = Field(
        default="5m",
        validate_default=True,
        description="How long people who are in stay in while the store is unreachable.",
    )
    workers: kind.Workers = Field(default=1, description="Worker processes: a number, or `auto` for one a core.")
    login_rate_limit: LoginRateLimit = Field(default=LoginRateLimit(), description="How often one may try to log in.")
    allow_shared_team_host: kind.Flag = Field(
        default=False,
        description="Permit an application on the team host, whose scripts then share the login's origin.",
    )
    identity_providers: tuple[IdentityProviderConfig, ...] = Field(default=(), description="Who says who somebody is.")
    groups: tuple[GroupConfig, ...] = Field(default=(), description="Named sets of rules.")
    lists: tuple[ListConfig, ...] = Field(default=(), description="Named lists of addresses or networks.")
    applications: tuple[ApplicationConfig, ...] = Field(default=(), description="What is protected, and from whom.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.listen.startswith("unix:") and self.listen_secret_file is None:
            message = "is needed when listen is a port: any local user could otherwise pose as nginx"
            raise SettingError(message, path=("listen_secret_file",), value="")
        return self

    @property
    def team_host(self) -> str:
        return parse_host_and_port(self.team_domain)[0]

    @property
    def team_port(self) -> int | None:
        """The port of the team domain, None for 443."""
        return parse_host_and_port(self.team_domain)[1]

    @property
    def issuer(self) -> str:
        return f"https://{self.team_domain}"

    @property
    def session_duration_seconds(self) -> int:
        return self.session_duration

    @property
    def store_outage_grace_seconds(self) -> int:
        return self.store_outage_grace

    @property
    def state_path(self) -> Path:
        return Path(self.state.removeprefix("sqlite:"))
