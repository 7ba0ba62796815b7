"""5.5: FastCGI, uwsgi, SCGI and gRPC, where proxy_set_header does nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.harness.gateways import GatewayServer
from tests.harness.nginx import find_free_port
from tests.harness.protected import Site, render_server, running_site
from tests.harness.raw_http import Reply
from tests.harness.standin import IDENTITY

pytestmark = pytest.mark.nginx

GATEWAYS = ("fastcgi", "uwsgi", "scgi")
FORGED = [(name, "forged") for name, _ in IDENTITY]
CREDENTIALS = [("Cf-Access-Token", "t"), ("Cf-Access-Client-Id", "i"), ("Cf-Access-Client-Secret", "s")]
_NAMES = [name for name, _ in (*IDENTITY, *CREDENTIALS)]
_REPORT = "|".join(f"$http_{name.lower().replace('-', '_')}" for name in _NAMES)
PARAMETERS = ["HTTP_" + name.upper().replace("-", "_") for name in _NAMES]


@pytest.fixture(scope="module")
def gateway_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    grpc_port = find_free_port()
    with ExitStack() as stack:
        ports = {kind: stack.enter_context(GatewayServer(kind)).port for kind in GATEWAYS}
        locations = "".join(
            f"""
    location /{kind}/ {{
        set $authd_app app; include authd/authd-protect.conf;
        {kind}_param REQUEST_METHOD $request_method; include authd/authd-identity-{kind}.conf;
        {kind}_pass 127.0.0.1:{port};
    }}
    location /{kind}-forgotten/ {{
        set $authd_app app; include authd/authd-protect.conf;
        {kind}_param REQUEST_METHOD $request_method; {kind}_pass 127.0.0.1:{port};
    }}
"""
            for kind, port in ports.items()
        )
        grpc = f"""
    location /grpc/ {{
        set $authd_app app; include authd/authd-protect.conf; include authd/authd-identity-grpc.conf;
        grpc_pass grpc://127.0.0.1:{grpc_port};
    }}
"""
        upstream = f'server {{ listen 127.0.0.1:{grpc_port} http2; location / {{ return 200 "{_REPORT}"; }} }}'
        http = render_server("app.example.com", locations + grpc) + upstream
        yield stack.enter_context(running_site(tmp_path_factory.mktemp("nginx"), http))


@pytest.fixture
def site(gateway_site: Site) -> Site:
    gateway_site.forget()
    return gateway_site


def received(site: Site, kind: str) -> list[str]:
    """The values of the seven names as the application sees them, "" where there is none."""
    answer = site.get("app.example.com", f"/{kind}/x", session="good", headers=[*FORGED, *CREDENTIALS])
    assert answer.status == 200, answer
    if kind == "grpc":
        return answer.text.split("|")
    parameters = [(name, value) for name, value in json.loads(answer.body) if name in PARAMETERS]
    assert len({name for name, _ in parameters}) == len(parameters), "a name came twice"
    return [dict(parameters).get(name, "") for name in PARAMETERS]


@pytest.mark.parametrize("kind", [*GATEWAYS, "grpc"])
def test_5_5_the_application_learns_who_it_is_and_nothing_that_was_forged(site: Site, kind: str) -> None:
    assert received(site, kind) == [*[value for _, value in IDENTITY], "", "", ""]


@pytest.mark.parametrize("kind", [*GATEWAYS, "grpc"])
def test_5_5_where_authd_names_nobody_the_forged_names_are_gone(site: Site, kind: str) -> None:
    site.authd.program(check=Reply(200))
    assert received(site, kind) == [""] * 7


@pytest.mark.parametrize("kind", [*GATEWAYS, "grpc"])
def test_5_5_a_token_that_nginx_has_is_shown_as_it_was_asked_about(site: Site, kind: str) -> None:
    """The offer of docs/adr/0122, taken: the application gets the cookie, not what else was sent under the name."""
    site.authd.program(check=Reply(200, (("X-Authd-Token-From", "session"), ("X-Authd-User", "ada"))))
    shown = received(site, kind)
    assert sorted(value for value in shown if value) == ["ada", "good"]
    assert shown[[name for name, _ in IDENTITY].index("Cf-Access-Jwt-Assertion")] == "good"


@pytest.mark.parametrize("kind", GATEWAYS)
def test_5_5_without_the_include_a_forged_identity_passes(site: Site, kind: str) -> None:
    """Why each protocol has a file of its own."""
    assert received(site, f"{kind}-forgotten")[:4] == ["forged"] * 4


@pytest.mark.parametrize("kind", [*GATEWAYS, "grpc"])
def test_5_5_nobody_gets_in_without_authds_word(site: Site, kind: str) -> None:
    assert site.get("app.example.com", f"/{kind}/x").status == 302
    site.authd.program(check=Reply(500))
    assert site.get("app.example.com", f"/{kind}/x", session="good").status == 503
