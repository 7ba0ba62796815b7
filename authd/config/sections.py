"""The sections of the configuration file below applications: every key, default and sentence once.

Paths are resolved against the directory of the configuration file. Not checked here: that a file
or an environment variable named for a secret exists.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from authd.config import settings as kind
from authd.config.fields import Network, parse_network, read_email
from authd.config.list_entries import load_entries
from authd.config.mistakes import SettingError, raise_mistakes


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


class TokenIssuerConfig(Section):
    """Another issuer, whose bearer tokens machines bring. It logs nobody in."""

    id: kind.Identifier = Field(description="Stable name; `token_issuer` and `token_claim` rules refer to it.")
    issuer: kind.Issuer = Field(description="The issuer, to the letter as its tokens name it (`iss`).")
    audiences: kind.Audiences = Field(description="What a token must be for: one of these in its `aud`.")
    jwks_uri: kind.Issuer | None = Field(
        default=None, description="Where it publishes its keys; as its discovery document says if left out."
    )
    ca_file: kind.AuthorityFile | None = Field(
        default=None, description="Certificates that vouch for that issuer's host, instead of the system's."
    )
    algorithms: kind.Algorithms = Field(default=("RS256", "ES256"), description="Algorithms that may have signed.")
    types: kind.TokenTypes = Field(
        default=("JWT",), description="What a token may call itself (`typ`); none at all is `JWT`."
    )
    subject_claim: kind.Text = Field(default="sub", description="The claim that names the machine.")
    scope_claim: kind.Text = Field(default="scope", description="The claim that is read as words with spaces between.")
    groups_claim: kind.Text | None = Field(
        default=None, description="The claim whose groups the application is told; none if left out."
    )


class CertificateAuthorityConfig(Section):
    """An authority whose client certificates policies may ask for. nginx verifies them; this says whose they are."""

    id: kind.Identifier = Field(description="Stable name; `certificate` and `common_name` rules refer to it.")
    issuer_dn: kind.DistinguishedName = Field(
        description="The issuer's name, as `openssl x509 -noout -issuer -nameopt RFC2253` prints it."
    )


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
    """One policy of an application."""

    not_built: ClassVar[frozenset[str]] = frozenset(
        (
            "approval_groups",
            "approval_required",
            "connection_rules",
            "isolation_required",
            "mfa_config",
            "precedence",
            "purpose_justification_prompt",
            "purpose_justification_required",
        )
    )

    name: kind.Label = Field(description="What logs, pages and `explain` call the policy.")
    id: kind.Identifier | None = Field(
        default=None,
        description="The token's `policy_id`; by default derived from application, name and position.",
    )
    decision: Literal["allow", "deny", "bypass", "non_identity"] = Field(
        description="`allow`, `deny`, `bypass` (no login at all) or `non_identity` (machines)."
    )
    session_duration: kind.SessionDuration | None = Field(
        default=None,
        description="How long a token lives that this policy admitted; the application's if left out.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.session_duration is not None and self.decision in ("deny", "bypass"):
            message = f"means nothing in a {self.decision} policy, which gives no token"
            raise SettingError(message, path=("session_duration",), value="")
        return self


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
