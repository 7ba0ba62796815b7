"""The visitor's country: believed from the edge, from nobody else, and part of what a decision is remembered for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from authd.nginx_files import NginxSettings
from tests.harness.protected import PROTECTED, Site, render_server, running_site
from tests.harness.raw_http import Reply

pytestmark = pytest.mark.nginx

HOST = "app.example.com"
# Whoever connects from 127.0.0.1 is the edge here, and a visitor who asks for `direct.` is not.
GEO = "map $host $edge_ok { default 0; app.example.com 1; }\n"
LOCATION = f"location / {{ set $authd_app app; {PROTECTED} }}"


@pytest.fixture(scope="module")
def behind_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    http = GEO + render_server(f"{HOST} direct.example.com", LOCATION)
    settings = NginxSettings(country_header="CF-IPCountry", scopes=((HOST, "host"),))
    with running_site(tmp_path_factory.mktemp("nginx"), http, settings) as site:
        yield site


@pytest.fixture
def site(behind_edge: Site) -> Site:
    behind_edge.forget()
    return behind_edge


def countries_asked(site: Site) -> list[str]:
    return [request.get("X-Authd-Country") or "" for request in site.authd.checks]


def test_the_edge_names_the_country(site: Site) -> None:
    site.get(HOST, headers=[("CF-IPCountry", "DE")])

    assert countries_asked(site) == ["DE"]


def test_nobody_else_is_believed(site: Site) -> None:
    site.get("direct.example.com", headers=[("CF-IPCountry", "DE"), ("X-Authd-Country", "DE")])
    site.get(HOST, headers=[("X-Authd-Country", "DE")])

    assert countries_asked(site) == ["", ""]


def test_a_decision_about_one_country_is_never_given_to_another(site: Site) -> None:
    site.authd.program(check=Reply(200, (("X-Accel-Expires", "60"),)))
    for country in ("DE", "DE", "FR", "DE"):
        assert site.get(HOST, session="s", headers=[("CF-IPCountry", country)]).status == 200

    assert countries_asked(site) == ["DE", "FR"]
