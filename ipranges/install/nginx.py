"""nginx: a private harness before anything is touched, its own test after the swap, new workers as proof."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ipranges.config import NginxTarget
from ipranges.errors import ApplyError
from ipranges.install.commands import run_command
from ipranges.install.processes import NginxMaster, find_master_of, find_masters, reads_any_of
from ipranges.install.program import FileChange

PROOF_SECONDS = 10.0
_POLL_SECONDS = 0.02

# Everything private: `nginx -t` opens the pid file, the logs and the sockets of the configuration that
# it tests, so the real ones must not stand in a harness.
_HARNESS = """\
pid {here}/pid;
error_log stderr;
worker_processes 1;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
    {in_http}
    server {{
        listen unix:{here}/socket;
        {in_server}
    }}
}}
"""


class NginxProgram:
    """One nginx, told by the commands that test and reload it, and by the files that it reads."""

    def __init__(self, target: NginxTarget, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._target = target
        self._test = ("nginx", "-t") if target.test is None else target.test
        self._reload = ("systemctl", "reload", "nginx") if target.reload is None else target.reload
        self._pid_file = Path(target.pid_file) if target.pid_file else None
        self._sleep = sleep

    def check_candidate(self, change: FileChange) -> None:
        """nginx reads the candidate in a configuration of its own; raises ApplyError."""
        binary = self._test[0] if self._test and Path(self._test[0]).name == "nginx" else "nginx"
        with TemporaryDirectory(prefix="ipranges-") as here:
            candidate = Path(here, "candidate.conf")
            candidate.write_bytes(change.new)
            include = f"include {candidate};"
            config = Path(here, "nginx.conf")
            config.write_text(_render_harness(self._target, here, include))
            try:
                run_command((binary, "-t", "-q", "-p", here, "-e", "stderr", "-c", str(config)))
            except ApplyError as error:
                raise ApplyError(f"nginx does not take the new list: {error}") from None

    def test(self) -> None:
        """nginx's own test of its whole configuration."""
        if self._test:
            run_command(self._test)

    def take_up(self, changes: Sequence[FileChange]) -> str:
        """Reload, and wait for new workers: a reload that returns 0 may have changed nothing."""
        masters = self._find_masters(frozenset(change.target.path for change in changes))
        before = {master: master.find_workers() for master in masters}
        if not masters and self._reload_is_systemd:
            # systemctl fails for a unit that is not active; the file stands for nginx's start.
            return "no running nginx includes it yet; nothing to reload"
        self.reload()
        ends_at = time.monotonic() + PROOF_SECONDS
        while not all(self._has_new_workers(master, old) for master, old in before.items()):
            if time.monotonic() > ends_at:
                raise ApplyError("the reload returned, but nginx goes on with its old workers")
            self._sleep(_POLL_SECONDS)
        return "" if masters else "reloaded; no running nginx includes it, so there is nothing to prove"

    def reload(self) -> None:
        """The reload command alone."""
        if self._reload:
            run_command(self._reload)

    @property
    def _reload_is_systemd(self) -> bool:
        return bool(self._reload) and Path(self._reload[0]).name == "systemctl"

    def _find_masters(self, paths: frozenset[str]) -> list[NginxMaster]:
        if self._pid_file is not None:
            master = find_master_of(self._pid_file)
            return [master] if master else []
        return [master for master in find_masters() if reads_any_of(master, paths)]

    def _has_new_workers(self, master: NginxMaster, old: frozenset[int]) -> bool:
        # Until the old ones shut down, they still take connections, and answer them with the old list.
        workers = master.find_workers()
        if workers and not workers & old:
            return True
        # A restart instead of a reload is another master on the same configuration.
        others = [find_master_of(self._pid_file)] if self._pid_file else find_masters()
        return any(o is not None and o.config == master.config and o.pid != master.pid for o in others)


def _render_harness(target: NginxTarget, here: str, include: str) -> str:
    in_http, in_server = include, "return 204;"
    if target.type == "nginx-geo":
        in_server = f"if (${target.variable} = 0) {{ return 444; }}"
    elif target.type == "nginx-allow":
        in_http, in_server = "", include
    return _HARNESS.format(here=here, in_http=in_http, in_server=in_server)
