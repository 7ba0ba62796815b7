"""A Django application behind `allowedflare`: one request in (JSON on stdin), what became of it out.

Runs in an environment of its own (`.ci/setup`), without authd.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command


def configure() -> None:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="of a test",
        USE_TZ=True,
    )
    django.setup()
    call_command("migrate", verbosity=0)


def make_urls() -> list[Any]:
    from allowedflare.django import Authentication
    from django.urls import path
    from rest_framework.permissions import IsAuthenticated
    from rest_framework.response import Response
    from rest_framework.views import APIView

    class Page(APIView):
        authentication_classes = (Authentication,)
        permission_classes = (IsAuthenticated,)

        def get(self, request: Any) -> Response:
            return Response({"username": request.user.username, "email": request.user.email})

    return [path("", Page.as_view())]


def main() -> None:
    asked = json.load(sys.stdin)
    os.environ["ALLOWEDFLARE_ACCESS_URL"] = asked["team"]
    os.environ["ALLOWEDFLARE_AUDIENCE"] = asked["aud"]
    os.environ["ALLOWEDFLARE_PRIVATE_DOMAIN"] = "example.com"
    configure()
    global urlpatterns
    urlpatterns = make_urls()
    from django.test import Client

    client = Client()
    client.cookies["CF_Authorization"] = asked["token"]
    response = client.get("/")
    print(json.dumps({"status": response.status_code, "said": response.json()}))


if __name__ == "__main__":
    main()
