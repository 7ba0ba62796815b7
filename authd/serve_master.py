"""gunicorn's master, with a reload of our own, and an upgrade in which nobody waits.

On SIGUSR2 the program is started once more, from the path that it was called by: after an upgrade that is the next
version. It inherits the socket, starts its workers, and only then ends this one, which has served all the time. If
it does not come so far, it ends itself and nothing has happened (docs/adr/0111).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from gunicorn import systemd
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from authd.audit import log_event
from authd.serve_worker import ENDING_SIGNALS

_TAKE_OVER_SECONDS = 45


class Master(Arbiter):  # type: ignore[misc]
    """One master. `app` is the `Server`."""

    app: Any
    START_CTX: dict[int | str, Any]

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        command = find_own_command(sys.argv, sys.orig_argv)
        self.START_CTX = {**self.START_CTX, 0: command[0], "args": command}
        self._give_up_at = time.monotonic() + _TAKE_OVER_SECONDS
        self._has_taken_over = False

    def start(self) -> None:
        """Listen. A successor that is configured for another socket than the one it inherited ends here."""
        super().start()
        listening = [_plain(each.getsockname()) for each in self.LISTENERS]
        if self.master_pid and listening != [_plain(each) for each in self.address]:
            log_event("server.handover_failed", level="error", message="listen was changed, which needs a restart")
            sys.exit(1)

    def handle_hup(self) -> None:
        """Validate the file; a good one goes to the workers, a bad one is reported and changes nothing."""
        self.app.reload_config()

    def handle_term(self) -> None:
        """End. A successor becomes the service's main process before this one goes."""
        super().maybe_promote_master()  # the last one takes the socket's file away
        if self.reexec_pid:
            systemd.sd_notify(f"MAINPID={self.reexec_pid}", self.log)
        super().handle_term()

    def reexec(self) -> None:
        """Start the successor. In its process this does not return, whatever happens."""
        super().maybe_promote_master()  # who has a predecessor starts no successor, and it may be gone by now
        master = os.getpid()
        try:
            super().reexec()
        except OSError as error:
            if os.getpid() == master:
                raise
            log_event("server.handover_failed", level="error", message=f"{self.START_CTX[0]}: {error.strerror}")
            os._exit(1)

    def maybe_promote_master(self) -> None:
        """Once a second: a successor whose workers all serve ends its predecessor, or gives up."""
        super().maybe_promote_master()
        if not self.master_pid or self._has_taken_over:
            return
        if self.app.are_workers_serving():
            self._has_taken_over = True
            log_event("server.handover", pid=self.pid, predecessor=self.master_pid)
            os.kill(self.master_pid, signal.SIGTERM)
        elif time.monotonic() > self._give_up_at:
            log_event("server.handover_failed", level="error", message=f"not ready within {_TAKE_OVER_SECONDS} s")
            raise HaltServer("not ready in time", 1)

    def spawn_worker(self) -> Any:
        """Fork with the signals blocked that end a worker: one that came before it listens to them would be lost, and
        gunicorn then waits 10 s before it kills."""
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)


def find_own_command(arguments: Sequence[str], original: Sequence[str]) -> list[str]:
    """How this program is called again. A script by its own path, which a link may lead elsewhere by now: its first
    line names the Python of the version that it belongs to."""
    return list(arguments if os.access(arguments[0], os.X_OK) else original)


def _plain(address: str | tuple[Any, ...]) -> str | tuple[Any, ...]:
    """An address without what the kernel adds to IPv6."""
    return address if isinstance(address, str) else address[:2]
