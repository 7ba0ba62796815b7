"""What an adapter is, and what adapters share: a program that listens, and a login through the identity provider."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.browser import Browser
from tests.harness.idp import IdentityProvider

ACCOUNT = "alice"
# The same for each: what lies behind a gate is the operator's, and costs what it costs without one.
TO_APPLICATION = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://app;'
_START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Way:
    """How nginx reaches a gate's check: what stands after `http://`, and more directives for the check's location.

    `caches` tells an adapter to leave out what its documentation says against a cache.
    """

    address: str
    directives: str = ""
    caches: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a gate runs. `path` is what `--peer` named; `directory` is the gate's own; `host` is what it protects."""

    path: Path
    directory: Path
    host: str
    port: int
    provider: IdentityProvider
    client_secret: str

    @property
    def page(self) -> str:
        """What a person asks for."""
        return f"https://{self.host}/"


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate that runs. `render_site` writes what stands within `server {}` of nginx but for `listen`.

    `process` is whose processor time is the gate's. `in_nginx`: there is none, since the gate is nginx, with `modules`.
    """

    version: str
    render_site: Callable[[Way], str]
    log_in: Callable[[Browser], None]
    process: subprocess.Popen[bytes] | None = None
    in_nginx: bool = False
    http: str = ""
    modules: Sequence[Path] = ()
    library_directory: Path | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """An adapter. `program` is looked for on PATH; `wants` says what `--peer NAME=PATH` has to name.

    `callback` is the path to which the identity provider sends people back; "" where there is none.
    """

    name: str
    wants: str
    program: str
    callback: str
    run: Callable[[Place], AbstractContextManager[Gate]]
    needs: Sequence[str] = ()
    """Other programs without which it cannot be measured."""

    @property
    def host(self) -> str:
        """The host that it protects here."""
        return f"{self.name}.bench"

    def register(self, client_secret: str) -> dict[str, object]:
        """Its registration at the identity provider."""
        redirect_uris = [f"https://{self.host}{self.callback}"]
        return {"client_id": self.name, "client_secret": client_secret, "redirect_uris": redirect_uris}


@contextlib.contextmanager
def run_program(
    command: Sequence[str | Path], place: Place, *, port: int = 0, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start it in the place's directory and wait until it listens. Raises RuntimeError with the end of its log."""
    log = place.directory / f"{Path(command[0]).name}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [str(part) for part in command],
            cwd=place.directory,
            env=os.environ | dict(environment or {}),
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            _wait_for(port or place.port, process, log)
            yield process
        finally:
            process.terminate()


def read_version(*command: str | Path) -> str:
    """The first line that a program says of itself, on either stream."""
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines else "unknown"


def log_in_by_provider(place: Place) -> Callable[[Browser], None]:
    """From the page to the identity provider, through its pages as ACCOUNT, and back."""

    def log_in(browser: Browser) -> None:
        answer = browser.visit(place.page)
        if not answer.location.startswith(place.provider.issuer):
            raise RuntimeError(
                f"{place.host} does not lead to the identity provider: {answer.status} {answer.text[:300]}"
            )
        browser.visit(place.provider.log_in(answer.location, ACCOUNT))

    return log_in


def make_secret() -> str:
    """32 characters, for what a gate encrypts or signs with."""
    return secrets.token_hex(16)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{log.stem} did not start: {log.read_text(errors='replace')[-800:]}")
        time.sleep(0.05)
