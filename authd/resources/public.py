"""What anybody may read: keys, style sheet; and on the socket alone: health and metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import falcon
import falcon.asgi

from authd import __version__
from authd.keys import Keyring
from authd.metrics import Metrics
from authd.resources.pages import Pages
from authd.tunnel.status import STATUS_FILE, render_tunnel_metrics


class Certs:
    """`<prefix>/certs`: the key set (reference/access-wire.md 2.7). Verifiers may keep it for an hour."""

    def __init__(self, keyring: Callable[[], Keyring], clock: Callable[[], float]) -> None:
        self._keyring = keyring
        self._clock = clock

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """See the class."""
        resp.status = falcon.HTTP_200
        resp.set_headers({"Cache-Control": "public, max-age=3600", "Access-Control-Allow-Origin": "*"})
        resp.media = self._keyring().render_document(self._clock())

    on_head = on_get


class StyleSheet:
    """`<prefix>/style.css`: its address changes with its content, so it may be kept for ever."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """See the class."""
        resp.status = falcon.HTTP_200
        resp.content_type = "text/css; charset=utf-8"
        # Only the address with this very version is this very content for ever.
        is_current = req.get_param("v") == self._pages.stylesheet_version
        keep = "public, max-age=31536000, immutable" if is_current else "no-cache"
        resp.set_headers({"Cache-Control": keep, "X-Content-Type-Options": "nosniff"})
        resp.set_header("ETag", self._pages.stylesheet.etag)
        resp.data = self._pages.stylesheet.content


class Health:
    """`/healthz`: the process answers. `/readyz`: configuration, store and keys are there; never the identity
    provider."""

    def __init__(self, problems: Callable[[], list[str]]) -> None:
        self._problems = problems

    async def on_get_healthz(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """See the class."""
        resp.status = falcon.HTTP_200
        resp.media = {"status": "ok"}

    async def on_get_readyz(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """See the class."""
        problems = self._problems()
        resp.status = falcon.HTTP_503 if problems else falcon.HTTP_200
        status = "not ready" if problems else "ready"
        resp.media = {"status": status, "version": __version__, "problems": problems}


class MetricsResource:
    """`/metrics`, summed over the workers."""

    def __init__(self, metrics: Metrics, tunnel_status: Path = STATUS_FILE) -> None:
        self._metrics = metrics
        self._tunnel_status = tunnel_status

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """See the class."""
        # The watch over tunnels writes the file; whatever that does to it, the event loop does not wait for a disk.
        tunnels = await asyncio.to_thread(render_tunnel_metrics, self._tunnel_status, time.time())
        resp.status = falcon.HTTP_200
        resp.content_type = "text/plain; version=0.0.4; charset=utf-8"
        resp.data = self._metrics.render() + tunnels
