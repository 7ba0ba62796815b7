"""Vouch Proxy, as its README has it ("Installation and Configuration", and "in a path" for the login).

https://github.com/vouch/vouch-proxy. Sessions are in the cookie: a JWT of Vouch's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import yaml

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

_ROOT = "/vouch"


@contextlib.contextmanager
def _run(place: Place) -> Iterator[Gate]:
    config = place.directory / "config.yml"
    config.write_text(yaml.safe_dump(_describe(place)))
    config.chmod(0o600)
    with run_program([place.path, "-config", config], place) as process:
        yield Gate(
            version=read_version(place.path, "-version"),
            render_site=lambda way: _render_site(place, way),
            log_in=log_in_by_provider(place),
            process=process,
        )


def _describe(place: Place) -> dict[str, object]:
    issuer = place.provider.issuer
    return {
        "vouch": {
            # One line for each check, which authd does not write either.
            "logLevel": "error",
            "listen": "127.0.0.1",
            "port": place.port,
            "document_root": _ROOT,
            "domains": ["bench"],
            # Else only addresses under these domains are let in.
            "whiteList": ["alice@example.com"],
            "jwt": {"secret": make_secret() + make_secret()},
            "session": {"key": make_secret() + make_secret()},
        },
        "oauth": {
            "provider": "oidc",
            "client_id": VOUCH_PROXY.name,
            "client_secret": place.client_secret,
            "auth_url": f"{issuer}/auth",
            "token_url": f"{issuer}/token",
            "user_info_url": f"{issuer}/me",
            "scopes": ["openid", "email", "profile"],
            "callback_url": f"{place.page.rstrip('/')}{VOUCH_PROXY.callback}",
            # The identity provider of the tests insists on it.
            "code_challenge_method": "S256",
        },
    }


def _render_site(place: Place, way: Way) -> str:
    return f"""
    auth_request {_ROOT}/validate;
    location = {_ROOT}/validate {{
        proxy_pass http://{way.address}{_ROOT}/validate;
        proxy_set_header Host $http_host;
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
        auth_request_set $auth_resp_x_vouch_user $upstream_http_x_vouch_user;
        auth_request_set $auth_resp_jwt $upstream_http_x_vouch_jwt;
        auth_request_set $auth_resp_err $upstream_http_x_vouch_err;
        auth_request_set $auth_resp_failcount $upstream_http_x_vouch_failcount;
        {way.directives}
    }}
    error_page 401 = @error401;
    location @error401 {{
        auth_request off;
        return 302 https://$http_host{_ROOT}/login?url=$scheme://$http_host$request_uri&vouch-failcount=$auth_resp_failcount&X-Vouch-Token=$auth_resp_jwt&error=$auth_resp_err;
    }}
    location {_ROOT} {{
        auth_request off;
        proxy_pass http://127.0.0.1:{place.port};
        proxy_set_header Host $http_host;
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
    }}
    location / {{
        auth_request_set $auth_resp_x_vouch_user $upstream_http_x_vouch_user;
        proxy_set_header X-Vouch-User $auth_resp_x_vouch_user;
        {TO_APPLICATION}
    }}
    """


VOUCH_PROXY = Peer("vouch-proxy", "the program", "vouch-proxy", f"{_ROOT}/auth", _run)
