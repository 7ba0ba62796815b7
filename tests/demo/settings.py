"""Where the demonstration is: its directory, ports and hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_PORT = 8443
DEFAULT_PROVIDER_PORT = 9480
# sockaddr_un.sun_path on Linux: 108 bytes with the NUL at the end.
MAX_SOCKET_PATH_BYTES = 107


class DemoError(Exception):
    """Raised if the demonstration cannot go on; the text says what to do."""


@dataclass(frozen=True, slots=True)
class DemoApplication:
    """One of the two applications. `id` is its name in authd.yml and in nginx."""

    id: str
    name: str
    host: str


APPLICATIONS = (
    DemoApplication(id="grafana", name="Grafana", host="grafana.localhost"),
    DemoApplication(id="wiki", name="Wiki", host="wiki.localhost"),
)
TEAM_HOST = "auth.localhost"
HOSTS = (TEAM_HOST, *(application.host for application in APPLICATIONS))


@dataclass(frozen=True, slots=True)
class Settings:
    """`directory` is absolute. Both ports are loopback's."""

    directory: Path
    port: int = DEFAULT_PORT
    provider_port: int = DEFAULT_PROVIDER_PORT

    @property
    def team_domain(self) -> str:
        return f"{TEAM_HOST}:{self.port}"

    @property
    def issuer(self) -> str:
        """The issuer of authd's tokens."""
        return f"https://{self.team_domain}"

    @property
    def provider_issuer(self) -> str:
        # An address, not a name: Python does not resolve *.localhost everywhere, browsers do.
        return f"http://127.0.0.1:{self.provider_port}"

    @property
    def authd_config(self) -> Path:
        return self.directory / "authd.yml"

    @property
    def authd_socket(self) -> Path:
        return self.directory / "run" / "authd.sock"

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    def url(self, host: str) -> str:
        return f"https://{host}:{self.port}"

    def socket(self, application: DemoApplication) -> Path:
        return self.directory / "run" / f"{application.id}.sock"

    def log(self, name: str) -> Path:
        return self.directory / "log" / f"{name}.log"


def parse_settings(environment: Mapping[str, str], directory: Path) -> Settings:
    """From DEMO_PORT and DEMO_PROVIDER_PORT. Raises DemoError for a port that is none, or a path that is too long."""
    settings = Settings(
        directory=directory.resolve(),
        port=_parse_port(environment, "DEMO_PORT", DEFAULT_PORT),
        provider_port=_parse_port(environment, "DEMO_PROVIDER_PORT", DEFAULT_PROVIDER_PORT),
    )
    if settings.port == settings.provider_port:
        raise DemoError(f"DEMO_PORT and DEMO_PROVIDER_PORT are both {settings.port}; they must differ.")
    longest = max((settings.socket(application) for application in APPLICATIONS), key=lambda path: len(bytes(path)))
    excess = len(bytes(longest)) - MAX_SOCKET_PATH_BYTES
    if excess > 0:
        raise DemoError(
            f"The path of this checkout is {excess} bytes too long for a unix socket ({longest}). "
            "Move the checkout to a shorter path."
        )
    return settings


def _parse_port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "") or str(default)
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise DemoError(f"{name} must be a port from 1 to 65535, not {text!r}.")
    return int(text)
