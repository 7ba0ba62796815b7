"""HAProxy and Caddy as programs that read our files."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests

from ipranges.config import CaddyTarget, HaproxyTarget
from ipranges.errors import ApplyError, RefusedError
from ipranges.install.commands import run_command
from ipranges.install.program import FileChange
from ipranges.networks import NetworkSet, parse_network_set
from ipranges.targets import haproxy

_NOT_PROVED = "reloaded; not proved, since `{key}` is not configured"
_HARNESS = """\
defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s
frontend harness
    bind unix@{here}/socket
    acl edge src -f {here}/candidate
    http-request silent-drop unless edge
"""


class HaproxyProgram:
    """HAProxy. With its runtime socket the list is swapped without a reload and read back."""

    def __init__(self, target: HaproxyTarget) -> None:
        default = ("haproxy", "-c", "-q", "-f", "/etc/haproxy/haproxy.cfg")
        self._test = default if target.test is None else target.test
        self._reload = ("systemctl", "reload", "haproxy") if target.reload is None else target.reload
        self._socket = target.socket

    def check_candidate(self, change: FileChange) -> None:
        """HAProxy reads the candidate in a configuration of its own; raises ApplyError."""
        with TemporaryDirectory(prefix="ipranges-") as here:
            Path(here, "candidate").write_bytes(change.new)
            Path(here, "haproxy.cfg").write_text(_HARNESS.format(here=here))
            run_command(("haproxy", "-c", "-q", "-f", f"{here}/haproxy.cfg"))

    def test(self) -> None:
        """HAProxy's test of its whole configuration."""
        if self._test:
            run_command(self._test)

    def take_up(self, changes: Sequence[FileChange]) -> str:
        """Swap the list at run time where the socket knows it, else reload; read back through the socket."""
        if self._socket is None:
            self.reload()
            return _NOT_PROVED.format(key="socket")
        for change in changes:
            try:
                self._swap(change)
            except RefusedError:
                # The running HAProxy was started before its configuration named the file.
                self.reload()
            self._prove(change)
        return ""

    def reload(self) -> None:
        """The reload command alone."""
        if self._reload:
            run_command(self._reload)

    def _swap(self, change: FileChange) -> None:
        path = change.target.path
        version = haproxy.parse_version(self._ask(f"prepare acl {path}"))
        for line in haproxy.render_additions(path, version, change.networks):
            if answer := self._ask(line).strip():
                raise ApplyError(f"HAProxy refused a network: {answer[:100]!a}")
        self._ask(f"commit acl @{version} {path}")

    def _prove(self, change: FileChange) -> None:
        try:
            live = haproxy.parse_acl(self._ask(f"show acl {change.target.path}"))
        except RefusedError as error:
            raise ApplyError(f"HAProxy's list could not be read back: {error}") from None
        if live != change.networks:
            raise ApplyError("HAProxy's list, read back, is not the new one")

    def _ask(self, line: str) -> str:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(10)
                connection.connect(str(self._socket))
                connection.sendall(line.encode() + b"\n")
                return b"".join(iter(lambda: connection.recv(65_536), b"")).decode("utf-8", "replace")
        except OSError as error:
            raise ApplyError(f"HAProxy's socket {self._socket} did not answer: {error.strerror or error}") from None


class CaddyProgram:
    """Caddy. Its admin endpoint shows the running configuration, which is the proof."""

    def __init__(self, target: CaddyTarget) -> None:
        default = ("caddy", "validate", "--config", "/etc/caddy/Caddyfile")
        self._test = default if target.test is None else target.test
        self._reload = ("systemctl", "reload", "caddy") if target.reload is None else target.reload
        self._admin = target.admin
        self._snippet = target.snippet

    def check_candidate(self, change: FileChange) -> None:
        """Caddy adapts a site that imports the candidate; raises ApplyError."""
        with TemporaryDirectory(prefix="ipranges-") as here:
            Path(here, "candidate").write_bytes(change.new)
            config = Path(here, "Caddyfile")
            config.write_text(f"import {here}/candidate\nhttp://harness.invalid {{\n\timport {self._snippet}\n}}\n")
            run_command(("caddy", "adapt", "--adapter", "caddyfile", "--config", str(config)))

    def test(self) -> None:
        """Caddy's test of its whole configuration."""
        if self._test:
            run_command(self._test)

    def take_up(self, changes: Sequence[FileChange]) -> str:
        """Reload, which Caddy itself refuses for a bad configuration, and look for the list in what runs."""
        self.reload()
        if self._admin is None:
            return _NOT_PROVED.format(key="admin")
        running = self._read_running()
        for change in changes:
            if change.networks not in running:
                raise ApplyError("the reload returned, but Caddy does not run with the new list")
        return ""

    def reload(self) -> None:
        """The reload command alone."""
        if self._reload:
            run_command(self._reload)

    def _read_running(self) -> list[NetworkSet]:
        try:
            answer = requests.get(f"{self._admin}/config/", timeout=10)
            answer.raise_for_status()
            return _find_range_lists(json.loads(answer.text))
        except (requests.RequestException, ValueError) as error:
            raise ApplyError(f"Caddy's admin endpoint did not answer: {type(error).__name__}") from None


def _find_range_lists(value: Any) -> list[NetworkSet]:
    if isinstance(value, list):
        return [found for element in value for found in _find_range_lists(element)]
    if not isinstance(value, dict):
        return []
    here = []
    if isinstance(value.get("ranges"), list):
        try:
            here = [parse_network_set(value["ranges"])]
        except RefusedError:
            here = []  # somebody else's list, in words of theirs
    return here + [found for element in value.values() for found in _find_range_lists(element)]
