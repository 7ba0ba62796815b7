"""The section of an identity provider of type `oidc`: every key, default and sentence once."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from authd.config import settings as kind
from authd.config.mistakes import SettingError
from authd.config.provider_section import ProviderSection

_SEVERAL_TENANTS = ("/organizations/v2.0", "/common/v2.0")


class OidcConfig(ProviderSection):
    """A provider that speaks OpenID Connect. With neither secret, authd is a public client (PKCE alone)."""

    not_built: ClassVar[frozenset[str]] = frozenset(
        ("auth_url", "certs_url", "email_claim_name", "pkce_enabled", "prompt", "token_url")
    )

    type: Literal["oidc"] = Field(description="`oidc`: OpenID Connect.")
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
    email_verified_claim: kind.Text = Field(
        default="email_verified", description="The claim that says whether the address is verified, such as `xms_edov`."
    )
    groups_claim: kind.Text = Field(default="groups", description="The claim that holds the groups.")
    graph_url: kind.Issuer | None = Field(
        default=None,
        description="Microsoft Graph, asked for groups that do not fit into a token: `https://graph.microsoft.com`.",
    )
    allowed_tenants: kind.Tenants = Field(
        default=(),
        description="Tenants of Entra ID, by id, where `issuer` is `.../organizations/v2.0`; no others get in.",
    )
    authorization_parameters: kind.AuthorizationParameters = Field(
        default={}, description="Parameters of the provider's own for its login page, such as `hd` or `access_type`."
    )
    identity_refresh: kind.RefreshInterval | None = Field(
        default=None, description="How often this provider is asked again who somebody is; as at the top if left out."
    )
    logout_at_provider: kind.Flag = Field(
        default=False, description="Log out of the provider too, when somebody logs out everywhere."
    )
    assume_email_verified: kind.Flag = Field(
        default=False, description="Believe addresses of a provider that never says whether it verified them."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.client_secret_file is not None and self.client_secret_env is not None:
            raise SettingError("must not stand beside client_secret_file", path=("client_secret_env",))
        self._check_tenants()
        return self

    def _check_tenants(self) -> None:
        are_several = self.issuer.endswith(_SEVERAL_TENANTS)
        if "{" in self.issuer:
            # As Entra's own document writes it.
            message = "is a template; write organizations in place of {tenantid}, and your tenants in allowed_tenants"
            raise SettingError(
                message, path=("issuer",), allowed="https://login.microsoftonline.com/organizations/v2.0"
            )
        if are_several and not self.allowed_tenants:
            message = "is needed: the issuer is that of every tenant in the world"
            raise SettingError(message, path=("allowed_tenants",), allowed="the ids of your tenants")
        if self.allowed_tenants and not are_several:
            message = "is that of one tenant, and allowed_tenants is for an issuer of several"
            allowed = "an issuer that ends with " + " or ".join(_SEVERAL_TENANTS)
            raise SettingError(message, path=("issuer",), allowed=allowed)
        if self.graph_url and self.groups_claim != "groups":
            raise SettingError("has no meaning beside another groups_claim than groups", path=("graph_url",))
        if len(self.allowed_tenants) > 1 and self.assume_email_verified:
            # The attack called nOAuth: the administrators of each tenant write what they like into addresses.
            message = "must not stand beside several tenants: each could claim the addresses of another"
            raise SettingError(message, path=("assume_email_verified",), allowed="false, with email_verified_claim")

    @property
    def kept_claims(self) -> tuple[str, ...]:
        return (*self.claims, self.groups_claim)

    @property
    def groups_claim_name(self) -> str | None:
        return self.groups_claim

    @property
    def tenants(self) -> tuple[str, ...]:
        return self.allowed_tenants

    @property
    def refresh_interval(self) -> int | None:
        return self.identity_refresh

    @property
    def secret_file(self) -> Path | None:
        return self.client_secret_file

    @property
    def secret_env(self) -> str | None:
        return self.client_secret_env
