"""What must stand once: ids, names, AUD tags, domains, and one port for each host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from authd.config.identifiers import derive_aud
from authd.config.mistakes import Path, PlacedMistake, render_path
from authd.config.schema import ApplicationConfig, Config


def check_duplicates(config: Config) -> Iterator[PlacedMistake]:
    """Every second use of what must be unique, and domains that cannot stand together."""
    applications = config.applications
    yield from _check_unique("id", _places("identity_providers", "id", (p.id for p in config.identity_providers)))
    yield from _check_unique("id", _places("token_issuers", "id", (each.id for each in config.token_issuers)))
    issuers = (each.issuer for each in config.token_issuers)
    yield from _check_unique("issuer", _places("token_issuers", "issuer", issuers))
    yield from _check_unique("name", _places("groups", "name", (group.name for group in config.groups)))
    yield from _check_unique("name", _places("lists", "name", (entry.name for entry in config.lists)))
    authorities = config.client_certificate_authorities
    ids, names = (each.id for each in authorities), (each.issuer_dn for each in authorities)
    yield from _check_unique("id", _places("client_certificate_authorities", "id", ids))
    yield from _check_unique("name", _places("client_certificate_authorities", "issuer_dn", names))
    yield from _check_unique("id", _places("applications", "id", (app.id for app in applications)))
    yield from _check_unique("AUD tag", _walk_auds(config))
    yield from _check_unique("policy id", _walk_policy_ids(applications))
    yield from _check_unique("domain", _walk_domains(applications))
    yield from _check_ports(applications)
    if not config.allow_shared_team_host:
        yield from _check_team_host(config)


def _places(section: str, key: str, values: Iterable[str]) -> Iterator[tuple[Path, str]]:
    for position, value in enumerate(values):
        yield (section, position, key), value


def _check_unique(what: str, values: Iterable[tuple[Path, str]]) -> Iterator[PlacedMistake]:
    first: dict[str, Path] = {}
    for path, value in values:
        if value in first:
            yield PlacedMistake(path, f"is the same {what} as {render_path(first[value])}", value)
        first.setdefault(value, path)


def _walk_auds(config: Config) -> Iterator[tuple[Path, str]]:
    ids: set[str] = set()
    for position, application in enumerate(config.applications):
        if application.issuer:
            # The edge's tag: it may have one application where the origin has several, with rules of their own.
            continue
        # Two applications of one id have one derived AUD tag; the id is reported already.
        if application.aud is not None or application.id not in ids:
            key = "aud" if application.aud is not None else "id"
            yield ("applications", position, key), derive_aud(config.team_domain, application)
        ids.add(application.id)


def _walk_policy_ids(applications: Iterable[ApplicationConfig]) -> Iterator[tuple[Path, str]]:
    for position, application in enumerate(applications):
        for at, policy in enumerate(application.policies):
            if policy.id is not None:
                yield ("applications", position, "policies", at, "id"), policy.id


def _walk_domains(applications: Iterable[ApplicationConfig]) -> Iterator[tuple[Path, str]]:
    # Without the port: ports are no part of a match.
    for position, application in enumerate(applications):
        for at, domain in enumerate(application.domains):
            yield ("applications", position, "domains", at), domain.host + domain.path


def _check_ports(applications: Iterable[ApplicationConfig]) -> Iterator[PlacedMistake]:
    first: dict[str, tuple[int, Path]] = {}
    for position, application in enumerate(applications):
        for at, domain in enumerate(application.domains):
            if domain.port is None:
                continue
            path: Path = ("applications", position, "domains", at)
            port, place = first.setdefault(domain.host, (domain.port, path))
            if port != domain.port:
                message = f"gives the host another port than {render_path(place)}; a host is served on one port"
                yield PlacedMistake(path, message, str(domain), f"{domain.host}:{port}")


def _check_team_host(config: Config) -> Iterator[PlacedMistake]:
    """Scripts of an application there would share the login's origin, and could log in as anybody."""
    for position, application in enumerate(config.applications):
        for at, domain in enumerate(application.domains):
            if domain.host == config.team_host:
                message = "is the team host, whose origin the login needs for itself"
                allowed = "another host, or allow_shared_team_host: true (a risk; see the docs)"
                yield PlacedMistake(("applications", position, "domains", at), message, str(domain), allowed)
