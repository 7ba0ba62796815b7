"""nginx-ldap-auth-service, as its page "Configuring nginx" has it, before OpenLDAP's slapd with one person in it.

https://nginx-ldap-auth-service.readthedocs.io/en/latest/nginx.html. Sessions are in its memory, its default. Left out
are TLS on loopback, which it would take anew for each check, and the cache of ten minutes, in whose place stands ours.
"""

from __future__ import annotations

import contextlib
import html
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from bench.peers.gate import ACCOUNT, TO_APPLICATION, Gate, Peer, Place, Way, make_secret, run_program
from tests.harness.browser import Browser
from tests.harness.nginx import find_free_port

_SUFFIX = "dc=example,dc=com"
_ADMINISTRATOR = f"cn=admin,{_SUFFIX}"
_SCHEMAS = Path("/etc/ldap/schema")
_FIELD = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')


@contextlib.contextmanager
def _run(place: Place) -> Iterator[Gate]:
    password = make_secret()
    with _run_directory(place, password) as port:
        environment = _describe(password, port)
        command = [place.path, "start", "--host", "127.0.0.1", "--port", str(place.port)]
        with run_program(command, place, environment=environment) as process:
            yield Gate(
                version=_read_version(place.path),
                render_site=lambda way: _render_site(place, way),
                log_in=lambda browser: _log_in(browser, place, password),
                process=process,
            )


@contextlib.contextmanager
def _run_directory(place: Place, password: str) -> Iterator[int]:
    """slapd with ACCOUNT in it, who has the administrator's password. Yields its port."""
    slapd, slapadd = (shutil.which(name, path="/usr/sbin:/usr/local/sbin") for name in NGINX_LDAP_AUTH_SERVICE.needs)
    assert slapd is not None
    assert slapadd is not None
    config, people, port = place.directory / "slapd.conf", place.directory / "people.ldif", find_free_port()
    (place.directory / "people").mkdir()
    config.write_text(_render_directory(place.directory, password))
    people.write_text(_render_people(password))
    config.chmod(0o600)
    people.chmod(0o600)
    subprocess.run([slapadd, "-f", config, "-l", people], check=True, capture_output=True)
    with run_program([slapd, "-d", "0", "-f", config, "-h", f"ldap://127.0.0.1:{port}"], place, port=port):
        yield port


def _render_directory(directory: Path, password: str) -> str:
    schemas = "".join(f"include {_SCHEMAS}/{name}.schema\n" for name in ("core", "cosine", "inetorgperson"))
    return (
        f"{schemas}pidfile {directory}/slapd.pid\n"
        f'database ldif\nsuffix "{_SUFFIX}"\nrootdn "{_ADMINISTRATOR}"\nrootpw {password}\n'
        f"directory {directory}/people\n"
    )


def _render_people(password: str) -> str:
    return (
        f"dn: {_SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\no: Example\n\n"
        f"dn: uid={ACCOUNT},{_SUFFIX}\nobjectClass: inetOrgPerson\ncn: Alice Example\nsn: Example\n"
        f"mail: {ACCOUNT}@example.com\nuserPassword: {password}\n"
    )


def _describe(password: str, port: int) -> dict[str, str]:
    return {
        "LDAP_URI": f"ldap://127.0.0.1:{port}",
        "LDAP_STARTTLS": "False",
        "LDAP_BINDDN": _ADMINISTRATOR,
        "LDAP_PASSWORD": password,
        "LDAP_BASEDN": _SUFFIX,
        "SECRET_KEY": make_secret(),
        "CSRF_SECRET_KEY": make_secret(),
        "INSECURE": "True",
        "LOGLEVEL": "ERROR",
    }


def _read_version(program: Path) -> str:
    """As pip has written it beside the program."""
    packages = map(str, program.parent.parent.glob("lib/python*/site-packages"))
    found = [each.version for each in distributions(name="nginx-ldap-auth-service", path=list(packages))]
    return found[0] if found else "unknown"


def _log_in(browser: Browser, place: Place, password: str) -> None:
    """Fill in its form. Raises RuntimeError where it does not lead back to the page."""
    url = f"{place.page}auth/login?service=/"
    fields = {name: html.unescape(value) for name, value in _FIELD.findall(browser.request(url).text)}
    answer = browser.request(url, method="POST", form=fields | {"username": ACCOUNT, "password": password})
    if answer.status != 302:
        raise RuntimeError(f"{place.host} does not take the password: {answer.status} {answer.text[:300]}")


def _render_site(place: Place, way: Way) -> str:
    return f"""
    location / {{
        auth_request /check-auth;
        error_page 401 =200 /auth/login?service=$request_uri;
        {TO_APPLICATION}
    }}
    location /auth {{
        proxy_pass http://127.0.0.1:{place.port}/auth;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header Cookie $http_cookie;
        proxy_set_header X-Proto-Scheme $scheme;
        proxy_set_header X-Host $host;
        proxy_set_header X-Authorization-Filter "";
    }}
    location /check-auth {{
        internal;
        proxy_pass http://{way.address}/check;
        proxy_pass_request_headers off;
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
        proxy_hide_header "Set-Cookie";
        proxy_set_header Cookie nginxauth=$cookie_nginxauth;
        {way.directives}
    }}
    """


NGINX_LDAP_AUTH_SERVICE = Peer(
    "nginx-ldap-auth-service",
    "the program nginx-ldap-auth",
    "nginx-ldap-auth",
    "",
    _run,
    needs=("slapd", "slapadd"),
)
