"""Other issuers that are named in several places: what each place says of one must agree."""

from __future__ import annotations

from collections.abc import Iterator

from authd.config.mistakes import PlacedMistake
from authd.config.references import walk_rules
from authd.config.rules import LoginMethodRule, OidcRule
from authd.config.schema import ApplicationConfig, Config
from authd.config.selectors import find_selector_key


def check_issuers(config: Config) -> Iterator[PlacedMistake]:
    """One issuer has one key set; and who comes through an edge comes from no provider of ours."""
    first: dict[str, tuple[int, ApplicationConfig]] = {}
    for position, application in enumerate(config.applications):
        if application.issuer is None:
            continue
        at, other = first.setdefault(application.issuer, (position, application))
        for key in ("certs_url", "ca_file"):
            if getattr(application, key) != getattr(other, key):
                message = f"differs from applications[{at}].{key}, which has the same issuer"
                yield PlacedMistake(("applications", position, key), message, str(getattr(application, key) or ""))
        yield from _check_providers(position, application)


def _check_providers(position: int, application: ApplicationConfig) -> Iterator[PlacedMistake]:
    for at, policy in enumerate(application.policies):
        for place, rule in walk_rules(policy):
            if isinstance(rule, LoginMethodRule | OidcRule) and rule.provider_id != application.issuer:
                key = find_selector_key(rule)
                path = ("applications", position, "policies", at, *place, key)
                message = (
                    "names a provider that nobody comes from here; people of this application come from its issuer"
                )
                yield PlacedMistake(path, message, rule.provider_id, application.issuer or "")
