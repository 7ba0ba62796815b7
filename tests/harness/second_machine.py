"""A second machine of one installation: nginx and `authd serve` of its own on 127.0.0.2, the same secret and store.

A balancer in front would send a browser now here, now there: `Browser.machine` says where it goes.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.harness.nginx import NGINX, Nginx
from tests.harness.stack import Stack, _render_nginx

SECOND = "127.0.0.2"
_COPIED = ("secret", "corp.secret", "server.pem", "server.key")


@contextlib.contextmanager
def second_machine(stack: Stack, directory: Path) -> Iterator[Stack]:
    """Runs until left. The stack that is given counts what reaches the application; its provider serves both."""
    for name in _COPIED:
        shutil.copy2(stack.directory / name, directory / name)
    machine = replace(stack, directory=directory, authd=None)
    machine.write_config(listen=f"unix:{directory}/authd.sock")
    _render_nginx(directory)
    (directory / "temp").mkdir()
    text = (stack.directory / "nginx.conf").read_text().replace(str(stack.directory), str(directory))
    settings = directory / "nginx.conf"
    settings.write_text(text.replace("listen 127.0.0.1:", f"listen {SECOND}:"))
    command = [NGINX, "-p", str(directory), "-c", str(settings), "-e", str(directory / "error.log")]
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(machine.stop_authd)
        machine.nginx = Nginx(directory, subprocess.Popen(command))
        cleanup.callback(machine.nginx.stop)
        machine.start_authd()
        yield machine
