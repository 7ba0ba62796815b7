"""The configuration: one YAML file, read strictly, with every mistake named at once."""

from authd.config.authorities import Authorities
from authd.config.domains import DomainPattern
from authd.config.emails import parse_email
from authd.config.identifiers import derive_aud, derive_policy_id
from authd.config.identity_providers import IdentityProviderConfig
from authd.config.load import load_config, parse_config, render_json_schema
from authd.config.oidc import OidcConfig
from authd.config.onetimepin import OneTimePinConfig
from authd.config.schema import (
    ApplicationConfig,
    Config,
    CorsHeaders,
    GroupConfig,
    ListConfig,
    LoginRateLimit,
    PolicyConfig,
    TokenIssuerConfig,
)

__all__ = [
    "ApplicationConfig",
    "Authorities",
    "Config",
    "CorsHeaders",
    "DomainPattern",
    "GroupConfig",
    "IdentityProviderConfig",
    "ListConfig",
    "LoginRateLimit",
    "OidcConfig",
    "OneTimePinConfig",
    "PolicyConfig",
    "TokenIssuerConfig",
    "derive_aud",
    "derive_policy_id",
    "load_config",
    "parse_config",
    "parse_email",
    "render_json_schema",
]
