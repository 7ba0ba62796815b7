"""Cross-origin requests, answered by authd where `cors_headers` says so. Names as in Access (reference/access-wire.md
4.3)."""

from __future__ import annotations

from authd.config import CorsHeaders


def render_cors_headers(cors: CorsHeaders | None, origin: str) -> dict[str, str]:
    """What lets a script of an allowed origin read our 401, so that it can send its person to the login. Else
    nothing."""
    if cors is None or not origin or not _allows_origin(cors, origin):
        return {}
    headers = {"Access-Control-Allow-Origin": "*" if cors.allow_all_origins else origin, "Vary": "Origin"}
    if cors.allow_credentials:
        headers["Access-Control-Allow-Credentials"] = "true"
    return headers


def render_preflight_headers(cors: CorsHeaders | None, *, origin: str, method: str, headers: str) -> dict[str, str]:
    """The answer to a preflight; empty if the origin, the method or one of the headers is not allowed."""
    answer = render_cors_headers(cors, origin)
    wanted = [name.strip() for name in headers.split(",") if name.strip()]
    if cors is None or not answer or not _allows(cors, method, wanted):
        return {}
    answer["Access-Control-Allow-Methods"] = method if cors.allow_all_methods else ", ".join(cors.allowed_methods)
    if wanted:
        answer["Access-Control-Allow-Headers"] = ", ".join(wanted)
    if cors.max_age is not None:
        answer["Access-Control-Max-Age"] = str(cors.max_age)
    return answer


def _allows_origin(cors: CorsHeaders, origin: str) -> bool:
    return cors.allow_all_origins or origin in cors.allowed_origins


def _allows(cors: CorsHeaders, method: str, wanted_headers: list[str]) -> bool:
    known = {name.lower() for name in cors.allowed_headers}
    method_is_allowed = cors.allow_all_methods or method in cors.allowed_methods
    return method_is_allowed and (cors.allow_all_headers or all(name.lower() in known for name in wanted_headers))
