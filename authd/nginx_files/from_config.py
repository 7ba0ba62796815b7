"""The nginx files of one authd configuration."""

from __future__ import annotations

from pathlib import Path

from authd.config import Config
from authd.errors import SecretError
from authd.nginx_files.render import render_settings
from authd.nginx_files.settings import DEFAULT_CACHE_DIRECTORY, NginxSettings, Scope
from authd.policy.index import PolicyIndex, build_index


def render_nginx_files(config: Config, *, cache_directory: str = DEFAULT_CACHE_DIRECTORY) -> dict[str, str]:
    """The text of every file, by name.

    With a TCP listener it holds that listener's secret: write it with mode 0o600. Raises ConfigError for a value
    that cannot stand in nginx configuration, SecretError if the listener's secret cannot be read.
    """
    return render_settings(derive_settings(config, cache_directory=cache_directory))


def derive_settings(config: Config, *, cache_directory: str = DEFAULT_CACHE_DIRECTORY) -> NginxSettings:
    """What nginx has to know of a configuration. Raises SecretError if the listener's secret cannot be read."""
    index = build_index(config)
    usual = config.cookie_name.lower()
    bound = tuple((each.id, each.cookie_name) for each in index.applications if each.cookie_name.lower() != usual)
    return NginxSettings(
        listen=config.listen,
        listen_secret=_load_secret(config.listen_secret_file),
        path_prefix=config.path_prefix,
        cookie_name=config.cookie_name,
        scopes=_derive_scopes(index),
        bound_cookies=bound,
        cache_directory=cache_directory,
        # With 0 no decision is ever stored: looking for one would only cost.
        has_decision_cache=config.decision_cache_seconds > 0,
        credential_headers=tuple(
            (each.id, each.credential_header) for each in index.applications if each.credential_header
        ),
        token_issuers=tuple(each.id for each in config.token_issuers),
        country_header=config.country_header or "",
        edge_variable=config.edge_variable,
    )


def _derive_scopes(index: PolicyIndex) -> tuple[tuple[str, Scope], ...]:
    """Which hosts, and wildcards over one label, have decisions that hold for all their paths.

    nginx' `*.example.com` covers deeper names too. That does no harm: authd admits nobody there, and an answer that was
    asked for under a coarser key than today's policies allow is never cacheable.
    """
    scopes: dict[str, Scope] = {}
    for domain in (domain for application in index.applications for domain in application.domains):
        if not domain.is_wildcard_host:
            scopes[domain.host] = index.decision_scope(domain.host)
        elif domain.host.startswith("*.") and domain.host.count("*") == 1:
            scopes[domain.host] = index.decision_scope(domain.host.replace("*", "any-label"))
    return tuple(sorted(scopes.items()))


def _load_secret(path: Path | str | None) -> str:
    try:
        return Path(path).read_text("ascii").strip() if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(f"listen_secret_file: {path} cannot be read ({type(error).__name__})") from error
