"""oauth2-proxy, as its page "Configuring for use with the Nginx `auth_request` directive" has it.

https://oauth2-proxy.github.io/oauth2-proxy/configuration/integrations/nginx. Sessions are in the cookie, its default.
Left out are the lines for cookies of more than 4 kB and for access tokens, which this session does not have.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from bench.peers.gate import (
    TO_APPLICATION,
    Gate,
    Peer,
    Place,
    Way,
    log_in_by_provider,
    make_secret,
    read_version,
    run_program,
)


@contextlib.contextmanager
def _run(place: Place) -> Iterator[Gate]:
    config = place.directory / "oauth2-proxy.cfg"
    config.write_text(_render_config(place))
    config.chmod(0o600)
    with run_program([place.path, f"--config={config}"], place) as process:
        yield Gate(
            version=read_version(place.path, "--version"),
            render_site=lambda way: _render_site(place, way),
            log_in=log_in_by_provider(place),
            process=process,
        )


def _render_config(place: Place) -> str:
    settings: dict[str, object] = {
        "provider": "oidc",
        "oidc_issuer_url": place.provider.issuer,
        "client_id": OAUTH2_PROXY.name,
        "client_secret": place.client_secret,
        "redirect_url": f"{place.page.rstrip('/')}{OAUTH2_PROXY.callback}",
        # The identity provider of the tests insists on it.
        "code_challenge_method": "S256",
        "cookie_secret": make_secret(),
        "email_domains": ["example.com"],
        "whitelist_domains": [place.host],
        "http_address": f"127.0.0.1:{place.port}",
        "upstreams": ["static://202"],
        "reverse_proxy": True,
        "trusted_proxy_ips": ["127.0.0.1"],
        "set_xauthrequest": True,
        "skip_provider_button": True,
        # One line for each check, which authd does not write either.
        "auth_logging": False,
        "request_logging": False,
    }
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


def _render_site(place: Place, way: Way) -> str:
    return f"""
    location /oauth2/ {{
        proxy_pass http://127.0.0.1:{place.port};
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Auth-Request-Redirect $request_uri;
    }}
    location = /oauth2/auth {{
        proxy_pass http://{way.address};
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-Uri $request_uri;
        proxy_set_header Content-Length "";
        proxy_pass_request_body off;
        {way.directives}
    }}
    location / {{
        auth_request /oauth2/auth;
        error_page 401 = @oauth2_signin;
        auth_request_set $user $upstream_http_x_auth_request_user;
        auth_request_set $email $upstream_http_x_auth_request_email;
        proxy_set_header X-User $user;
        proxy_set_header X-Email $email;
        auth_request_set $auth_cookie $upstream_http_set_cookie;
        add_header Set-Cookie $auth_cookie;
        {TO_APPLICATION}
    }}
    location @oauth2_signin {{ return 302 /oauth2/sign_in?rd=$scheme://$host$request_uri; }}
    """


OAUTH2_PROXY = Peer("oauth2-proxy", "the program", "oauth2-proxy", "/oauth2/callback", _run)
