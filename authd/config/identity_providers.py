"""The kinds of identity providers. A new one is a section with a `type` of its own, here, and a module in `idp/`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from authd.config.github import GithubConfig
from authd.config.oidc import OidcConfig
from authd.config.onetimepin import OneTimePinConfig

IdentityProviderConfig = OidcConfig | GithubConfig | OneTimePinConfig
AnyProvider = Annotated[IdentityProviderConfig, Field(discriminator="type")]
