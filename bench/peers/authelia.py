"""Authelia, as its page "NGINX" has it ("Standard Example" and its snippets), with a file of users.

https://www.authelia.com/integration/proxies/nginx/. Sessions are in Redis, as it recommends for production: those in
its memory, its default, were twice gone after a minute of this load. Its portal is at a path of the application's host
rather than on a host of its own, which no check notices. The load comes without TLS, and Authelia refuses addresses
that are not https: what the snippet writes as `$scheme` is `https` here.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import yaml

from bench.peers.gate import ACCOUNT, TO_APPLICATION, Gate, Peer, Place, Way, make_secret, read_version, run_program
from tests.harness.browser import Browser
from tests.harness.nginx import find_free_port

_ROOT = "/authelia"
# As the snippet has it; it keeps connections open where nginx has an `upstream`, which the example has not.
_CONNECTION = 'proxy_http_version 1.1; proxy_set_header Connection "";'
_EVENTS = "proxy_next_upstream error timeout invalid_header http_500 http_502 http_503;"
_TIMEOUTS = "send_timeout 5m; proxy_read_timeout 240; proxy_send_timeout 240; proxy_connect_timeout 240;"
# They are empty here, as in most installations: the session's cookie has another name.
_AGAINST_CACHES = "proxy_cache_bypass $cookie_session; proxy_no_cache $cookie_session;"


@contextlib.contextmanager
def _run(place: Place) -> Iterator[Gate]:
    password = make_secret()
    users, config = place.directory / "users.yml", place.directory / "configuration.yml"
    users.write_text(yaml.safe_dump(_describe_users(_hash(place.path, password))))
    with _run_redis(place) as redis_port:
        config.write_text(yaml.safe_dump(_describe(place, users, redis_port)))
        config.chmod(0o600)
        with run_program([place.path, "--config", config], place) as process:
            yield Gate(
                version=read_version(place.path, "--version"),
                render_site=lambda way: _render_site(place, way),
                log_in=lambda browser: _log_in(browser, place, password),
                process=process,
            )


@contextlib.contextmanager
def _run_redis(place: Place) -> Iterator[int]:
    (program,) = AUTHELIA.needs
    port = find_free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with run_program([program, *options], place, port=port):
        yield port


def _hash(program: Path, password: str) -> str:
    command = [program, "crypto", "hash", "generate", "argon2", "--variant", "argon2id", "--password", password]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = re.search(r"\$argon2id\S+", done.stdout)
    if found is None:
        raise RuntimeError("authelia has made no hash of the password")
    return found[0]


def _describe_users(password_hash: str) -> dict[str, object]:
    alice = {"displayname": "Alice Example", "password": password_hash, "email": f"{ACCOUNT}@example.com"}
    return {"users": {ACCOUNT: alice}}


def _describe(place: Place, users: Path, redis_port: int) -> dict[str, object]:
    portal = f"{place.page.rstrip('/')}{_ROOT}"
    return {
        "server": {"address": f"tcp://127.0.0.1:{place.port}{_ROOT}"},
        # One line for each refusal, which comes with each anonymous request.
        "log": {"level": "error"},
        "authentication_backend": {"file": {"path": str(users)}},
        "access_control": {
            "default_policy": "deny",
            "rules": [{"domain": place.host, "policy": "one_factor"}],
        },
        "session": {
            "secret": make_secret(),
            "cookies": [{"domain": place.host, "authelia_url": portal}],
            "redis": {"host": "127.0.0.1", "port": redis_port},
        },
        "storage": {"encryption_key": make_secret(), "local": {"path": str(place.directory / "db.sqlite3")}},
        "notifier": {"filesystem": {"filename": str(place.directory / "mails.txt")}},
        "identity_validation": {"reset_password": {"jwt_secret": make_secret()}},
        # It would ask a server on the network what time it is, and end without an answer.
        "ntp": {"disable_startup_check": True},
    }


def _log_in(browser: Browser, place: Place, password: str) -> None:
    """What its page sends. Raises RuntimeError where the password is not taken."""
    document = {"username": ACCOUNT, "password": password, "keepMeLoggedIn": False, "targetURL": place.page}
    answer = browser.request(f"{place.page.rstrip('/')}{_ROOT}/api/firstfactor", method="POST", document=document)
    if answer.status != 200 or json.loads(answer.body)["status"] != "OK":
        raise RuntimeError(f"{place.host} does not take the password: {answer.status} {answer.text[:300]}")


def _render_site(place: Place, way: Way) -> str:
    return f"""
    location {_ROOT} {{
        proxy_pass http://127.0.0.1:{place.port};
        proxy_set_header Host $host;
        proxy_set_header X-Original-URL $scheme://$host$request_uri;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $host;
        proxy_set_header X-Forwarded-URI $request_uri;
        proxy_set_header X-Forwarded-Ssl on;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Real-IP $remote_addr;
    }}
    location /internal/authelia/authz {{
        internal;
        proxy_pass http://{way.address}{_ROOT}/api/authz/auth-request;
        proxy_set_header X-Original-Method $request_method;
        proxy_set_header X-Original-URL https://$host$request_uri;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header Content-Length "";
        proxy_pass_request_body off;
        proxy_redirect http:// $scheme://;
        client_body_buffer_size 128k;
        {_EVENTS} {_TIMEOUTS}
        {way.directives if way.caches else f"{_CONNECTION} {_AGAINST_CACHES} proxy_buffers 4 32k;"}
    }}
    location / {{
        auth_request /internal/authelia/authz;
        auth_request_set $user $upstream_http_remote_user;
        auth_request_set $groups $upstream_http_remote_groups;
        auth_request_set $name $upstream_http_remote_name;
        auth_request_set $email $upstream_http_remote_email;
        proxy_set_header Remote-User $user;
        proxy_set_header Remote-Groups $groups;
        proxy_set_header Remote-Email $email;
        proxy_set_header Remote-Name $name;
        auth_request_set $redirection_url $upstream_http_location;
        error_page 401 =302 $redirection_url;
        {TO_APPLICATION}
    }}
    """


AUTHELIA = Peer("authelia", "the program", "authelia", "", _run, needs=("redis-server",))
