"""A Pyramid application behind `pyramid-cloudflare-access`: one request in (JSON on stdin), what became of it out.

Runs in an environment of its own (`.ci/setup`), without authd.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPException
from pyramid.request import Request
from pyramid.response import Response


def show(request: Request) -> Response:
    return Response("the application")


def main() -> None:
    asked: dict[str, Any] = json.load(sys.stdin)
    settings = {
        "pyramid_cloudflare_access.team": asked["team"],
        "pyramid_cloudflare_access.policy_audience": asked["aud"],
    }
    with Configurator(settings=settings) as config:
        config.include("pyramid_cloudflare_access")
        config.add_route("page", "/")
        config.add_view(show, route_name="page")
        application = config.make_wsgi_app()
    request = Request.blank("/", base_url=asked["url"], headers={"Cookie": f"CF_Authorization={asked['token']}"})
    try:
        status = request.get_response(application).status_int
    except HTTPException as refusal:
        # The tween stands outside of the one that would make an answer of it.
        status = refusal.status_int
    print(json.dumps({"status": status}))


if __name__ == "__main__":
    main()
