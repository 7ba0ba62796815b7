"""An ACME authority in the lab: Pebble, which Let's Encrypt tries its clients with, on a cable of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.demo.certificates import ensure_certificates
from tests.lab.machines import Lab, wait_until

_PORT = 14000


@dataclass(frozen=True, slots=True)
class Authority:
    """Where it is, and `ca`, who signed its own server's certificate."""

    lab: Lab
    host: str
    directory: Path

    @property
    def url(self) -> str:
        return f"https://{self.host}:{_PORT}/dir"

    @property
    def ca(self) -> str:
        return (self.directory / "ca.pem").read_text()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """It keeps nothing: ended and run again, it knows none of its accounts. To take it away, cut its cable."""
        # By itself it waits before it looks, and refuses one request in twenty.
        calm = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
        command = self.lab.network.on(self.host, "pebble", "-config", str(self.directory / "pebble.json"))
        with (
            (self.directory / "log").open("ab") as log,
            subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **calm}) as process,
        ):
            try:
                wait_until(self._answers, "an answer of Pebble", seconds=30)
                yield
            finally:
                process.terminate()

    def _answers(self) -> bool:
        ask = ["curl", "-sf", "-o", "/dev/null", "--cacert", str(self.directory / "ca.pem"), self.url]
        return self.lab.as_operator(*ask).returncode == 0


def make_authority(lab: Lab, host: str) -> Authority:
    """Ready to run on a host that does not boot; it reaches who it certifies by the names of the lab, on port 80."""
    assert shutil.which("pebble"), "Pebble is missing; `make lab` installs it"
    directory = lab.directory / "authority"
    directory.mkdir()
    ensure_certificates(directory, [host])
    address = lab.network.address(host)
    settings = {
        "listenAddress": f"{address}:{_PORT}",
        "managementListenAddress": f"{address}:15000",
        "certificate": str(directory / "server.pem"),
        "privateKey": str(directory / "server.key"),
        "httpPort": 80,
        "tlsPort": 443,
    }
    (directory / "pebble.json").write_text(json.dumps({"pebble": settings}))
    return Authority(lab, host, directory)
