"""The section of an identity provider of type `github`: every key, default and sentence once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from authd.config import settings as kind
from authd.config.mistakes import SettingError
from authd.config.provider_section import ProviderSection


class GithubConfig(ProviderSection):
    """GitHub, or a GitHub Enterprise Server: OAuth 2.0, and people, organisations and teams from its API."""

    type: Literal["github"] = Field(description="`github`: GitHub or GitHub Enterprise Server.")
    base_url: kind.Issuer = Field(
        default="https://github.com", description="Where people log in; that of an Enterprise Server otherwise."
    )
    client_id: kind.Text = Field(description="The client id of the OAuth app.")
    client_secret_file: kind.File | None = Field(default=None, description="File with its client secret.")
    client_secret_env: kind.Environment | None = Field(
        default=None, description="Environment variable with the client secret, instead of the file."
    )
    identity_refresh: kind.RefreshInterval | None = Field(
        default=None, description="How often this provider is asked again who somebody is; as at the top if left out."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.client_secret_file is not None and self.client_secret_env is not None:
            raise SettingError("must not stand beside client_secret_file", path=("client_secret_env",))
        if self.client_secret_file is None and self.client_secret_env is None:
            raise SettingError("is needed: GitHub knows no clients without a secret", path=("client_secret_file",))
        return self

    @property
    def api_url(self) -> str:
        """Where the API is: a host of its own at github.com, a path at a server (GitHub's REST documentation)."""
        if self.base_url == "https://github.com":
            return "https://api.github.com"
        return f"{self.base_url.removesuffix('/')}/api/v3"

    @property
    def refresh_interval(self) -> int | None:
        return self.identity_refresh

    @property
    def secret_file(self) -> Path | None:
        return self.client_secret_file

    @property
    def secret_env(self) -> str | None:
        return self.client_secret_env
