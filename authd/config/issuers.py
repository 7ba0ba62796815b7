"""Other issuers: what several places say of one must agree, and no issuer may be two things at once."""

from __future__ import annotations

from collections.abc import Iterator

from authd.config.mistakes import Path, PlacedMistake
from authd.config.oidc import OidcConfig
from authd.config.references import walk_rules
from authd.config.rules import (
    AnyServiceTokenRule,
    LoginMethodRule,
    OidcRule,
    Rule,
    ServiceTokenRule,
    TokenClaimRule,
    TokenIssuerRule,
)
from authd.config.schema import ApplicationConfig, Config, TokenIssuerConfig
from authd.config.selectors import find_selector_key

_RULES_ABOUT_ISSUERS = (LoginMethodRule, OidcRule, TokenClaimRule, TokenIssuerRule)


def check_issuers(config: Config) -> Iterator[PlacedMistake]:
    """Every issuer that is named in several places, and every rule about one from which nobody comes."""
    yield from _check_key_sets(config)
    yield from _check_service_tokens(config)
    for position, issuer in enumerate(config.token_issuers):
        yield from _check_token_issuer(config, ("token_issuers", position), issuer)
    bearers = frozenset(each.id for each in config.token_issuers)
    known = bearers | {each.id for each in config.identity_providers}
    known |= {each.issuer for each in config.applications if each.issuer}
    for position, application in enumerate(config.applications):
        for path, rule in _walk_rules_about_issuers(position, application):
            wrong = _find_wrong_issuer(application, rule, bearers)
            # A name that is declared nowhere is a mistake of its own.
            if wrong in known:
                message = "names an issuer from which nobody comes to this application"
                allowed = application.issuer or ", ".join(sorted(bearers)) or "an id of token_issuers"
                yield PlacedMistake(path, message, wrong, allowed)


def _check_service_tokens(config: Config) -> Iterator[PlacedMistake]:
    """They are given out and judged where people log in."""
    for position, application in enumerate(config.applications):
        for at, policy in enumerate(application.policies if application.issuer else ()):
            for place, rule in walk_rules(policy):
                if isinstance(rule, ServiceTokenRule | AnyServiceTokenRule):
                    key = find_selector_key(rule)
                    message = "counts at the edge, and never at an application that only verifies"
                    allowed = "token_claim with the claim common_name"
                    path = ("applications", position, "policies", at, *place, key)
                    yield PlacedMistake(path, message, key, allowed)


def _check_key_sets(config: Config) -> Iterator[PlacedMistake]:
    """One issuer has one key set."""
    first: dict[str, tuple[int, ApplicationConfig]] = {}
    for position, application in enumerate(config.applications):
        if application.issuer is None:
            continue
        at, other = first.setdefault(application.issuer, (position, application))
        for key in ("certs_url", "ca_file"):
            if getattr(application, key) != getattr(other, key):
                message = f"differs from applications[{at}].{key}, which has the same issuer"
                yield PlacedMistake(("applications", position, key), message, str(getattr(application, key) or ""))


def _check_token_issuer(config: Config, path: Path, issuer: TokenIssuerConfig) -> Iterator[PlacedMistake]:
    """Whose tokens mean something else here already: they must not become a machine's credential as well."""
    if config.team_domain and issuer.issuer == config.issuer:
        yield PlacedMistake((*path, "issuer"), "is this authd itself, whose tokens need no entry", issuer.issuer)
    for position, application in enumerate(config.applications):
        if application.issuer == issuer.issuer:
            message = f"is the edge of applications[{position}], whose tokens are about people"
            yield PlacedMistake((*path, "issuer"), message, issuer.issuer)
            break
    for provider in (each for each in config.identity_providers if isinstance(each, OidcConfig)):
        if provider.issuer == issuer.issuer and provider.client_id in issuer.audiences:
            place = (*path, "audiences", issuer.audiences.index(provider.client_id))
            message = f"is the client_id of identity provider {provider.id}: the ID tokens of logins would count"
            yield PlacedMistake(place, message, provider.client_id, "a name of its own for this purpose")


def _walk_rules_about_issuers(position: int, application: ApplicationConfig) -> Iterator[tuple[Path, Rule]]:
    """Through groups they are not looked at: a group may serve several applications."""
    for at, policy in enumerate(application.policies):
        for place, rule in walk_rules(policy):
            if isinstance(rule, _RULES_ABOUT_ISSUERS):
                yield ("applications", position, "policies", at, *place, find_selector_key(rule)), rule


def _find_wrong_issuer(application: ApplicationConfig, rule: Rule, bearers: frozenset[str]) -> str:
    """The issuer or provider that a rule names and that nobody of this application comes from, empty if it is right."""
    if isinstance(rule, TokenIssuerRule | TokenClaimRule):
        right = {application.issuer} if application.issuer else bearers
        return "" if rule.issuer_id in right else rule.issuer_id
    if isinstance(rule, LoginMethodRule | OidcRule) and application.issuer:
        return "" if rule.provider_id == application.issuer else rule.provider_id
    return ""
