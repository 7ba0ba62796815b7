"""Certificate authorities that an operator names instead of the system's, read with the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509


@dataclass(frozen=True, slots=True)
class Authorities:
    """A file of certificates in PEM, with what stood in it when the configuration was read: a worker reads no files."""

    path: Path
    pem: str = field(repr=False)

    def __str__(self) -> str:
        return str(self.path)


def load_authorities(path: Path) -> Authorities:
    """Raises ValueError, a clause, unless the file can be read and holds certificates in PEM."""
    try:
        pem = path.read_text("ascii")
        x509.load_pem_x509_certificates(pem.encode())
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError("holds no certificates in PEM") from None
    return Authorities(path, pem)
