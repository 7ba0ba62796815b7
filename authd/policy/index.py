"""The configuration as an immutable index: applications by id, AUD tag, host and path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

from authd.config import (
    ApplicationConfig,
    Config,
    CorsHeaders,
    DomainPattern,
    PolicyConfig,
    derive_aud,
    derive_policy_id,
)
from authd.config.collector import pause_collector
from authd.model import Session, render_source
from authd.policy.compile import RuleCompiler
from authd.policy.domains import DomainIndex, build_domain_index
from authd.policy.rule_sets import RuleSet, asks_for_certificates, find_evaluations
from authd.policy.rules import ExternalEvaluationRule, FindCountry

# RFC 3986 pchar and the slash, less `;`, which no configured path holds.
_PATH_SAFE = "/:@!$&'()*+,=~"

# What edges call their cookie (reference/access-wire.md 1.5).
EDGE_COOKIE = "CF_Authorization"

_MOST_SCOPES = 4_096

PolicyDecision = Literal["allow", "deny", "bypass", "non_identity"]


@dataclass(frozen=True, slots=True)
class Policy:
    id: str
    name: str
    decision: PolicyDecision
    rules: RuleSet
    session_duration_seconds: int


@dataclass(frozen=True, slots=True, eq=False)
class Application:
    """One protected application, ready to be decided on. Compared and hashed by identity.

    `policies` stand in the order of evaluation: bypass and non_identity first, then allow and deny
    (access-wire 3.1), each in the order of the file. `allowed_idps` is never empty where providers
    exist. `is_path_bound` means that no domain covers a whole host. With an `issuer` it only verifies
    that edge's tokens, and the issuer is its people's provider; there is no login.
    """

    id: str
    name: str
    aud: str
    domains: tuple[DomainPattern, ...]
    policies: tuple[Policy, ...]
    allowed_idps: tuple[str, ...]
    sources: frozenset[str]
    auto_redirect_to_identity: bool
    options_preflight_bypass: bool
    cors: CorsHeaders | None
    custom_deny_message: str | None
    cookie_name: str
    is_path_bound: bool
    credential_header: str | None
    asks_for_certificates: bool
    evaluations: tuple[ExternalEvaluationRule, ...]
    issuer: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PolicyIndex:
    """Answers which application a request is for. Build it with `build_index`; it never changes.

    `sources` are all whose people may log in here (see `Identity.source`). Hosts are ASCII lower case without a port,
    as nginx' `$host`; paths are decoded and cleaned, as nginx' `$uri`. Not checked here: that a raw URL reads the same
    to everybody (`access.py` does).
    """

    applications: tuple[Application, ...]
    team_host: str
    team_port: int | None
    session_duration_seconds: int
    certificate_issuers: frozenset[str]
    sources: frozenset[str]
    _domains: DomainIndex[Application] = field(repr=False)
    _by_id: Mapping[str, Application] = field(repr=False)
    _by_aud: Mapping[str, Application] = field(repr=False)
    # What `decision_scope` has said, by host: looking costs a tenth of a check.
    _scopes: dict[str, Literal["host", "path"]] = field(default_factory=dict, repr=False)

    def team_session_ends_at(self, session: Session) -> int:
        """Until when a session gives applications new tokens: as long as it was given, and as today's setting says."""
        return min(session.expires_at, session.created_at + self.session_duration_seconds)

    def find_application(self, host: str, path: str) -> Application | None:
        """The most specific application: exact host, then longest wildcard; then longest path."""
        return self._domains.find(host, path)

    def get_application(self, application_id: str) -> Application:
        """Raises KeyError if there is no application of this id."""
        return self._by_id[application_id]

    def find_by_id(self, application_id: str) -> Application | None:
        return self._by_id.get(application_id)

    def find_by_aud(self, aud: str) -> Application | None:
        return self._by_aud.get(aud)

    def applications_on(self, host: str) -> tuple[Application, ...]:
        """Every application that some path of the host leads to, each once, the most specific host first."""
        found: dict[Application, None] = {}
        for entry in self._domains.walk_entries(host):
            found.update(dict.fromkeys(entry.walk_path_owners()))
            if entry.whole is not None:
                # What is less specific than an application of the whole host is never reached.
                found[entry.whole] = None
                break
        return tuple(found)

    def serves_host(self, application: Application, host: str) -> bool:
        """Whether some path of the host leads to this application."""
        return application in self.applications_on(host)

    def find_start_url(self, application: Application) -> str | None:
        """The address of the first domain that names one host and one place on it; None if none does."""
        for domain in application.domains:
            path = domain.path.removesuffix("*") or "/"
            if domain.is_wildcard_host or "*" in path:
                continue
            if self.find_application(domain.host, path) is application:
                return self.public_origin(domain.host) + quote(path, safe=_PATH_SAFE)
        return None

    def covers_whole_host(self, application: Application, host: str) -> bool:
        """Whether every path of the host that no more specific application takes is this one's."""
        return self._find_whole(host) is application

    def is_only_application(self, application: Application, host: str) -> bool:
        """Whether every path of the host leads to this application."""
        for entry in self._domains.walk_entries(host):
            if any(owner is not application for owner in entry.walk_path_owners()):
                return False
            if entry.whole is not None:
                return entry.whole is application
        return False

    def decision_scope(self, host: str) -> Literal["host", "path"]:
        """What a remembered decision may be reused for: the whole host, or one path of it (design 2)."""
        scope = self._scopes.get(host)
        if scope is None:
            whole = self._find_whole(host)
            scope = "host" if whole is not None and self.is_only_application(whole, host) else "path"
            # A wildcard has more hosts than anybody wants to remember.
            if len(self._scopes) < _MOST_SCOPES:
                self._scopes[host] = scope
        return scope

    def port_of(self, host: str) -> int | None:
        """The port on which visitors reach a host: its domain's, else the team domain's. None is 443."""
        # A wildcard may cover the team host, and says nothing about it.
        entry = None if host == self.team_host else next(self._domains.walk_entries(host), None)
        port = entry.port if entry is not None and entry.port is not None else self.team_port
        return None if port == 443 else port

    def public_origin(self, host: str) -> str:
        """`https://host[:port]`, from the configuration alone, never from what a visitor sent."""
        port = self.port_of(host)
        return f"https://{host}" if port is None else f"https://{host}:{port}"

    def _find_whole(self, host: str) -> Application | None:
        entries = self._domains.walk_entries(host)
        return next((entry.whole for entry in entries if entry.whole is not None), None)


def build_index(config: Config, find_country: FindCountry = lambda address: "") -> PolicyIndex:
    """Index a configuration that has passed its checks. Nothing of it is kept but its lists and patterns.

    `find_country` looks an address up for rules on countries; without it, none is known.
    """
    with pause_collector():
        return _build_index(config, find_country)


def _build_index(config: Config, find_country: FindCountry) -> PolicyIndex:
    compiler = RuleCompiler(config, find_country)
    applications = tuple(_build_application(config, entry, compiler) for entry in config.applications)
    return PolicyIndex(
        applications=applications,
        team_host=config.team_host,
        team_port=config.team_port,
        session_duration_seconds=config.session_duration_seconds,
        certificate_issuers=frozenset(each.issuer_dn for each in config.client_certificate_authorities),
        sources=_find_sources(config, tuple(each.id for each in config.identity_providers)),
        _domains=build_domain_index((domain, app) for app in applications for domain in app.domains),
        _by_id={application.id: application for application in applications},
        # For logins. Several applications that only verify may share the tag that their edge gave.
        _by_aud={application.aud: application for application in applications if not application.issuer},
    )


def _build_application(config: Config, written: ApplicationConfig, compiler: RuleCompiler) -> Application:
    aud = derive_aud(config.team_domain, written)
    is_path_bound = not any(domain.is_whole_host for domain in written.domains)
    policies = _build_policies(written, compiler, written.session_duration or config.session_duration)
    providers = (written.issuer,) if written.issuer else tuple(each.id for each in config.identity_providers)
    return Application(
        id=written.id,
        name=written.name or written.id,
        aud=aud,
        domains=written.domains,
        policies=policies,
        allowed_idps=written.allowed_idps or providers,
        sources=_find_sources(config, written.allowed_idps or providers),
        auto_redirect_to_identity=written.auto_redirect_to_identity,
        options_preflight_bypass=written.options_preflight_bypass,
        cors=written.cors_headers,
        custom_deny_message=written.custom_deny_message,
        cookie_name=_derive_cookie_name(config, written, aud, is_path_bound),
        is_path_bound=is_path_bound,
        credential_header=written.read_service_tokens_from_header,
        evaluations=tuple(dict.fromkeys(rule for policy in policies for rule in find_evaluations(policy.rules))),
        asks_for_certificates=any(asks_for_certificates(policy.rules) for policy in policies),
        issuer=written.issuer,
    )


def _find_sources(config: Config, provider_ids: tuple[str, ...]) -> frozenset[str]:
    tenants = {each.id: each.tenants for each in config.identity_providers if each.tenants}
    named = (render_source(id_, tenant) for id_ in provider_ids for tenant in tenants.get(id_, ()))
    return frozenset(provider_ids).difference(tenants).union(named)


def _derive_cookie_name(config: Config, written: ApplicationConfig, aud: str, is_path_bound: bool) -> str:
    if written.issuer:
        return EDGE_COOKIE
    # Two applications on one host must not overwrite each other's cookie (design 3).
    return f"{config.cookie_name}_{aud[:8]}" if is_path_bound else config.cookie_name


def _build_policies(written: ApplicationConfig, compiler: RuleCompiler, duration: int) -> tuple[Policy, ...]:
    policies = [
        _build_policy(derive_policy_id(written, policy, position), policy, compiler, duration)
        for position, policy in enumerate(written.policies)
    ]
    # `sorted` is stable: within each half the order of the file stands.
    return tuple(sorted(policies, key=lambda policy: policy.decision in ("allow", "deny")))


def _build_policy(policy_id: str, written: PolicyConfig, compiler: RuleCompiler, duration: int) -> Policy:
    rules = compiler.compile_rule_set(written)
    return Policy(policy_id, written.name, written.decision, rules, written.session_duration or duration)
