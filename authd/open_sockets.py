"""The connections of one call that a thread makes, so that the event loop can end it wherever it stands.

The timeout of a socket counts from one byte to the next: a server that sends one every few seconds would hold the
thread as long as it likes (docs/adr/0021).
"""

from __future__ import annotations

import contextlib
import socket
import threading


class OpenSockets:
    """The sockets of one call. `hold` is called by the call's thread, `cut` by any other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._is_cut = False

    def hold(self, connected: socket.socket) -> None:
        """Remember a connection as soon as there is one, before TLS begins; one that comes too late ends at once."""
        # A duplicate is the same connection to the kernel, and stays ours when TLS takes the original.
        with self._lock:
            self._sockets.append(connected.dup())
        if self._is_cut:
            self.cut()

    def cut(self) -> None:
        """End every connection, those still to come included. Calling it twice is no error."""
        with self._lock:
            self._is_cut = True
            for held in self._sockets:
                with contextlib.suppress(OSError):
                    held.shutdown(socket.SHUT_RDWR)
                held.close()
            self._sockets.clear()
