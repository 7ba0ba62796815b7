"""The one page of the demonstration's applications."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment

_TIMES = ("exp", "iat", "nbf")
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ name }}</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; font: 1.05rem/1.55 system-ui, sans-serif; }
body { max-width: 46rem; margin: 2.5rem auto; padding: 0 1rem; }
.who { font-size: 1.5rem; padding: 1rem 1.2rem; border-left: .4rem solid #2a9d5c;
  background: color-mix(in srgb, #2a9d5c 12%, transparent); }
.who small { display: block; font-size: .95rem; opacity: .8; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0; border-bottom: 1px solid #8884; }
th { width: 34%; font-weight: 600; overflow-wrap: anywhere; }
td { font-family: ui-monospace, monospace; font-size: .9rem; overflow-wrap: anywhere; }
details { margin-top: 1.5rem; }
nav a { margin-right: 1.2rem; }
</style>
</head>
<body>
<nav>{% for label, url in links.items() %}<a href="{{ url }}">{{ label }}</a>{% endfor %}
<a href="/cdn-cgi/access/logout">Log out</a></nav>
<main>
<h1>{{ name }}</h1>
<p class="who">{{ claims.email or claims.sub }}
<small>verified by this application: signature, issuer, audience and times of the token that nginx sent</small></p>
<p>You asked for <code>{{ path }}</code>. This page knows nothing of the login; authd and nginx did all of it.</p>
<h2>What the token says</h2>
<table>
{% for claim, value in claims.items() %}
<tr><th scope="row">{{ claim }}</th><td>{{ value | claim(claim) }}</td></tr>
{% endfor %}
</table>
<details>
<summary>The headers that this application received</summary>
<table>
{% for header, value in received.items() %}
<tr><th scope="row">{{ header }}</th><td>{{ value }}</td></tr>
{% endfor %}
</table>
</details>
</main>
</body>
</html>
"""


def _show_claim(value: Any, claim: str) -> str:
    if claim in _TIMES:
        return f"{value} ({datetime.fromtimestamp(value, UTC):%d %b %Y %H:%M:%S} UTC)"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


_ENVIRONMENT = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
_ENVIRONMENT.filters["claim"] = _show_claim
_TEMPLATE = _ENVIRONMENT.from_string(_PAGE)


def render_page(
    name: str, path: str, claims: Mapping[str, Any], received: Mapping[str, str], links: Mapping[str, str]
) -> str:
    """The page that shows a verified identity. Everything but `name` and `links` comes from outside and is escaped."""
    return _TEMPLATE.render(name=name, path=path, claims=claims, received=received, links=links)
