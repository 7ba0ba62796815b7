"""From a provider's claims to an identity. What is not plainly right is left out, never repaired."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from authd.config import OidcConfig, parse_email
from authd.idp.events import report
from authd.model import Identity

MAX_GROUP_CHARACTERS = 512
_MAX_TEXT_CHARACTERS = 254
_MISSING = object()
# Control characters, and the two that are line ends to some programs: such a text would end a
# header or a log line early.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

Claims = Mapping[str, Any]


def derive_subject(issuer: str, provider_subject: str) -> str:
    """Return the UUID of a person. An address can change hands; (issuer, sub) cannot."""
    return str(uuid5(NAMESPACE_URL, f"{issuer}\n{provider_subject}"))


def build_identity(
    settings: OidcConfig,
    *,
    provider_subject: str,
    sources: Sequence[Claims],
    now: float,
    issuer: str | None = None,
    tenant: str = "",
) -> Identity:
    """Build the identity from verified claims: the ID token's, then userinfo's if it was asked.

    The earlier source wins, claim by claim. Values of an unexpected shape are left out. `issuer` is whose token it was,
    where that is not the configured one, and `tenant` whose person it is, where there are several.
    """
    groups, are_complete = _read_groups(settings, sources)
    return Identity(
        subject=derive_subject(issuer or settings.issuer, provider_subject),
        provider_id=settings.id,
        provider_subject=provider_subject,
        email=_find_verified_email(settings, sources),
        unverified_email=_find_text(sources, settings.email_claim),
        name=_find_text(sources, "name"),
        groups=groups,
        auth_methods=_read_auth_methods(_find(sources, "amr")),
        claims={name: value for name in settings.claims if (value := _find(sources, name)) is not None},
        authenticated_at=int(now),
        groups_are_complete=are_complete,
        tenant=tenant,
    )


def lacks_claims(settings: OidcConfig, claims: Claims) -> bool:
    """True if userinfo may still know something that the ID token did not say."""
    wanted = {settings.email_claim, settings.groups_claim, *settings.claims}
    if not settings.assume_email_verified:
        wanted.add(settings.email_verified_claim)
    return any(_look_up(claims, name) is _MISSING for name in wanted)


def points_elsewhere(settings: OidcConfig, sources: Sequence[Claims]) -> bool:
    """True if the groups are not among the claims, which say that there are some: Entra ID's overage.

    Aggregated and distributed claims (OpenID Connect Core 1.0, 5.6.2) say where; nobody goes there. `hasgroups` is what
    Entra writes where even that would be too long.
    """
    if _find(sources, settings.groups_claim) is not None:
        return False
    is_entra = settings.groups_claim == "groups"
    return any(settings.groups_claim in _claim_names(each) or (is_entra and "hasgroups" in each) for each in sources)


def _find(sources: Sequence[Claims], name: str) -> Any:
    found = (_look_up(source, name) for source in sources)
    return next((value for value in found if value is not _MISSING and value is not None), None)


def _look_up(claims: Claims, name: str) -> Any:
    """The claim of that very name; else a path into nested ones, such as Keycloak's `realm_access.roles`."""
    if name in claims or "." not in name:
        return claims.get(name, _MISSING)
    value: Any = claims
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _find_text(sources: Sequence[Claims], name: str) -> str | None:
    value = _find(sources, name)
    if not isinstance(value, str) or not value or _CONTROL.search(value):
        return None
    return value if len(value) <= _MAX_TEXT_CHARACTERS else None


def _find_verified_email(settings: OidcConfig, sources: Sequence[Claims]) -> str | None:
    address = parse_email(_find(sources, settings.email_claim))
    if address is None:
        return None
    # `email_verified` speaks of the claim `email` and of no other. Only JSON's true is a yes: there
    # are providers that send the string "false" (CVE-2026-55076), and one "no" outweighs any "yes",
    # also that of a claim of the provider's own, such as Entra's `xms_edov`.
    name = settings.email_verified_claim
    verdicts = [source[each] for source in sources for each in {name, "email_verified"} & source.keys()]
    if any(verdict is not True for verdict in verdicts):
        return None
    vouched = any(source.get(name) is True and parse_email(source.get("email")) == address for source in sources)
    believed = settings.assume_email_verified
    return address if vouched or believed else None


def _read_groups(settings: OidcConfig, sources: Sequence[Claims]) -> tuple[tuple[str, ...], bool]:
    """The groups, and whether these are all."""
    if points_elsewhere(settings, sources):
        return (), False
    value = _find(sources, settings.groups_claim)
    if value is None:
        return (), True
    if not isinstance(value, list):
        # A string might be one group or several with commas between them: a guess would be a grant.
        report("provider.groups_ignored", settings.id, count=1)
        return (), False
    names = [name for member in value if (name := _find_group_name(member)) is not None]
    if len(names) < len(value):
        report("provider.groups_ignored", settings.id, count=len(value) - len(names))
    return tuple(dict.fromkeys(names)), len(names) == len(value)


def find_group_names(value: Any) -> tuple[str, ...]:
    """The usable names in a list of groups, each once; none of anything else."""
    members = value if isinstance(value, list) else []
    return tuple(dict.fromkeys(name for member in members if (name := _find_group_name(member)) is not None))


def _claim_names(source: Claims) -> Mapping[str, Any]:
    names = source.get("_claim_names")
    return names if isinstance(names, dict) else {}


def _find_group_name(member: Any) -> str | None:
    # The name alone: taking ids as well would let a group's name be another group's id.
    name = member.get("name") if isinstance(member, dict) else member
    if not isinstance(name, str) or not 0 < len(name) <= MAX_GROUP_CHARACTERS:
        return None
    return None if _CONTROL.search(name) else name


def _read_auth_methods(value: Any) -> tuple[str, ...]:
    # RFC 8176: an array of strings.
    if not isinstance(value, list):
        return ()
    return tuple(method for method in value if isinstance(method, str))
