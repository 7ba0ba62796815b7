"""`authd explain`: why a request would pass, or not, on the command line."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import click

from authd.cli_options import config_option, json_option
from authd.config import load_config
from authd.countries import parse_country
from authd.model import Facts


@click.command()
@config_option
@click.option("--url", required=True, help="The address, as in the address bar.")
@click.option("--email", help="Verified e-mail address of the person; nobody is logged in without it.")
@click.option("--groups", default="", help="Groups of the person, separated by commas.")
@click.option("--ip", default="192.0.2.1", show_default=True, help="The client's address.")
@click.option("--service-token", default="", help="Client id of the service token that is brought.")
@click.option("--certificate-issuer", default="", help="Issuer's name of the client certificate that is shown.")
@click.option("--common-name", default="", help="Common name of that certificate.")
@click.option("--country", default="", help="Country that the edge names; the database's if left out.")
@click.option("--method", default="GET", show_default=True, help="The HTTP method.")
@click.option("--login-method", help="Id of the identity provider; the first one if left out.")
@click.option("--auth-method", "auth_methods", multiple=True, help="How the person proved it, such as mfa. Repeatable.")
@click.option("--token-issuer", help="A machine with a token of this issuer asks, and no person.")
@click.option("--claim", "claims", multiple=True, help="NAME=VALUE of that token. Repeatable.")
@json_option
def explain(
    config_path: Path,
    url: str,
    email: str | None,
    groups: str,
    ip: str,
    country: str,
    service_token: str,
    certificate_issuer: str,
    common_name: str,
    method: str,
    login_method: str | None,
    auth_methods: tuple[str, ...],
    token_issuer: str | None,
    claims: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say what would become of a request, which policies and rules were looked at, and how long it would hold.

    Example: authd explain --url https://grafana.example.com/ --email jane@example.com --groups staff,admins
    """
    from authd import explain_request as of
    from authd.explain_durations import find_durations, render_durations
    from authd.policy.explain import render_explanation

    config = load_config(config_path)
    known = [provider.id for provider in config.identity_providers]
    if login_method is not None and login_method not in known:
        sentence = f"no such identity provider; there are: {', '.join(known)}"
        raise click.BadParameter(sentence, param_hint="--login-method")
    identity = of.build_identity(
        email=email,
        groups=tuple(name for name in groups.split(",") if name),
        provider_id=login_method or (known[0] if known else ""),
        auth_methods=auth_methods,
    )
    machine = of.build_machine(config, token_issuer, claims) if token_issuer else of.build_service_token(service_token)
    certificate = of.build_certificate(certificate_issuer, common_name)
    facts = Facts(_parse_ip(ip), None if machine else identity, parse_country(country), machine, certificate)
    found = of.explain_request(config, url=url, method=method.upper(), facts=facts)
    durations = find_durations(config, found.decision, facts.identity)
    if as_json:
        document = found.to_json() | {"durations": [each.to_json() for each in durations]}
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo("\n".join([render_explanation(found), *render_durations(durations)]))


def _parse_ip(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError as error:
        raise click.BadParameter("is no IP address", param_hint="--ip") from error
