"""A source in the configuration: which list, from where, and within which limits."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from ipranges.config.fields import AbsolutePath, Count, Model, Name, Network, PublicKey, Url
from ipranges.networks import Family

SourceType = Literal[
    "cloudflare",
    "fastly",
    "cloudfront",
    "google-lb",
    "azure-front-door",
    "akamai",
    "bunny",
    "imperva",
    "github-hooks",
    "static",
    "url",
]
SOURCE_TYPES: tuple[str, ...] = get_args(SourceType)
BUILT_IN = SOURCE_TYPES[:-2]


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


OneOrMoreUrls = Annotated[tuple[Url, ...], BeforeValidator(_as_tuple), Field(min_length=1, max_length=4)]
OneOrMorePaths = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)]


class AutoApprove(Model):
    """A held edition that was seen this often, over this long, is accepted without a person."""

    sightings: Count = 4
    hours: Count = 24


class SourceConfig(Model):
    """One source. `name` alone is enough for a built-in one.

    `url` replaces a built-in source's endpoint (a list where it has several documents) and switches its
    own fallback off; `fallback` names another. `json_paths` (key `json`) are path expressions.
    """

    name: Name
    type: SourceType
    url: OneOrMoreUrls | None = None
    fallback: OneOrMoreUrls | None = None
    json_paths: OneOrMorePaths | None = Field(default=None, alias="json")
    serial: str | None = None
    cidrs: tuple[Network, ...] | None = None
    public_key: PublicKey | None = None
    families: tuple[Family, ...] | None = Field(default=None, min_length=1)
    allow_private: bool | None = None
    min_prefix_v4: Annotated[int, Field(strict=True, ge=4, le=32)] | None = None
    min_prefix_v6: Annotated[int, Field(strict=True, ge=12, le=128)] | None = None
    max_bytes: Annotated[int, Field(strict=True, ge=64, le=256 * 1024 * 1024)] = 16 * 1024 * 1024
    max_prefixes: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 200_000
    deadline_seconds: Annotated[float, Field(gt=0, le=600)] = 60
    retries: Annotated[int, Field(strict=True, ge=0, le=8)] = 3
    ca_file: AbsolutePath | None = None
    seed: Literal["bundled"] | None = None
    min_retained: Annotated[float, Field(ge=0, le=1)] | None = None
    max_growth_v4: Annotated[float, Field(ge=0)] | None = None
    max_growth_v6: Annotated[float, Field(ge=0)] | None = None
    auto_approve: AutoApprove | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_is_the_type_of_a_built_in(cls, value: object) -> object:
        if isinstance(value, dict) and "type" not in value and value.get("name") in BUILT_IN:
            return {**value, "type": value["name"]}
        return value

    def find_misfits(self) -> list[tuple[str, str, str]]:
        """What does not go together, as (key, message, allowed)."""
        found: list[tuple[str, str, str]] = []
        if self.type == "static" and not self.cidrs:
            found.append(("cidrs", "a static source needs its networks", "a list of CIDRs"))
        if self.type == "url" and self.url is None:
            found.append(("url", "a source of type url needs one", "a URL that begins with https://"))
        if self.type != "static" and self.cidrs is not None:
            found.append(("cidrs", "is for sources of type static only", "type: static"))
        if self.type != "url" and self.public_key is not None:
            found.append(("public_key", "is for sources of type url only", "type: url"))
        if self.type not in ("static", "url"):
            found += [(key, "is for sources of type url only", "type: url") for key in self._url_only_keys()]
        if self.type in ("static", "google-lb"):
            keys = ("url", "fallback", "json_paths", "seed")
            found += [
                (key.removesuffix("_paths"), f"a {self.type} source fetches nothing", "")
                for key in keys
                if getattr(self, key) is not None
            ]
        if self.type == "url" and self.serial is not None and self.json_paths is None:
            found.append(("serial", "needs `json`: a text list states none", ""))
        if self.fallback is not None and self.url is None:
            found.append(("fallback", "needs `url`; without it the source's own fallback is used", ""))
        return found

    def _url_only_keys(self) -> list[str]:
        return [k for k, v in (("json", self.json_paths), ("serial", self.serial)) if v is not None]
