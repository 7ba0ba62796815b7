"""The origins that an edge knows: one JSON file each, and for OpenSSH one file of authorized keys.

DIRECTORY/origins/NAME.json     what `authd tunnel add-origin` was told
DIRECTORY/keys/tun-NAME         what sshd reads, as the origin's user; both belong to root
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, ip_network
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from authd.errors import TunnelError

DIRECTORY = Path("/etc/authd-tunnel")
RUN_DIRECTORY = Path("/run/authd-tunnel")
ENGINES = ("ssh", "wireguard")
MAX_CONNECTIONS = 16
# With "tun-" before it a Unix user of at most 32 characters.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,26}[a-z0-9]|[a-z]")


@dataclass(frozen=True, slots=True)
class Origin:
    """One machine that dials out. Origins of the same `service` are replicas in one upstream of nginx.

    `address` and `port` (where the application listens inside the tunnel) are WireGuard's, `connections` and
    `sources` (networks that may dial in, all if empty) OpenSSH's.
    """

    name: str
    service: str
    engine: str
    public_key: str
    connections: int = 4
    sources: tuple[str, ...] = ()
    address: str = ""
    port: int = 0

    @property
    def user(self) -> str:
        """The Unix user of the edge whose only right is this tunnel."""
        return f"tun-{self.name}"


def parse_name(text: str) -> str:
    """A name of an origin or a service. Raises TunnelError."""
    if not _NAME.fullmatch(text):
        raise TunnelError(f"{text!r} is no name: lower-case letters, digits and dashes, a letter first, at most 28")
    return text


def parse_ssh_key(text: str) -> str:
    """`ssh-ed25519 AAAA...`, written anew: no comment and no option gets into authorized_keys. Raises TunnelError."""
    try:
        # The library takes whatever follows the key for a comment, line breaks included.
        (line,) = text.strip().splitlines()
        key = load_ssh_public_key(line.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TunnelError("the public key is none: give the one line of id_ed25519.pub") from error
    if not isinstance(key, Ed25519PublicKey):
        raise TunnelError("the public key is not of type ed25519: make one with ssh-keygen -t ed25519")
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def parse_wireguard_key(text: str) -> str:
    """What `wg pubkey` prints. Raises TunnelError."""
    stripped = text.strip()
    try:
        raw = base64.b64decode(stripped, validate=True)
    except ValueError as error:
        raise TunnelError("the public key is none of WireGuard's: give what wg pubkey prints") from error
    if len(raw) != 32 or base64.b64encode(raw).decode() != stripped:
        raise TunnelError("the public key is none of WireGuard's: give what wg pubkey prints")
    return stripped


def parse_source(text: str) -> str:
    """A network that an origin may dial in from. Raises TunnelError."""
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise TunnelError(f"--from {text!r} is no address and no network: {error}") from error


def parse_address(text: str) -> str:
    """The address of an origin inside WireGuard's network. Raises TunnelError."""
    try:
        return str(IPv4Address(text))
    except ValueError as error:
        raise TunnelError(f"--address {text!r} is no IPv4 address") from error


def render_authorized_key(origin: Origin) -> str:
    """The one line of the origin's key file: it may forward, and sshd_config says what."""
    sources = f',from="{",".join(origin.sources)}"' if origin.sources else ""
    return f"restrict,port-forwarding{sources} {origin.public_key}\n"


def load_origins(directory: Path) -> tuple[Origin, ...]:
    """All origins by name. Raises TunnelError for a file that we did not write."""
    return tuple(_load(path) for path in sorted((directory / "origins").glob("*.json")))


def find_origin(directory: Path, name: str) -> Origin | None:
    """The origin of this name."""
    path = directory / "origins" / f"{parse_name(name)}.json"
    return _load(path) if path.exists() else None


def render_origin(origin: Origin) -> str:
    """The JSON of one origin."""
    return json.dumps(asdict(origin), indent=2) + "\n"


def _load(path: Path) -> Origin:
    try:
        read = json.loads(path.read_text("utf-8"))
        origin = Origin(**{**read, "sources": tuple(read["sources"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TunnelError(f"{path} cannot be read: {type(error).__name__}") from error
    if origin.name != path.stem:
        raise TunnelError(f"{path} is about {origin.name!r}, another origin")
    return origin
