"""lua-resty-openidc, as its README has it ("Sample Configuration"): within nginx, without a check of another program.

https://github.com/zmartzone/lua-resty-openidc. Sessions are in the cookie, lua-resty-session's default.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from bench.peers.gate import TO_APPLICATION, Gate, Peer, Place, log_in_by_provider, make_secret

# In this order: the second needs the first.
_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
# Where Debian's libnginx-mod-http-lua puts them.
_SYSTEM = Path("/usr/lib/nginx/modules")


@contextlib.contextmanager
def _run(place: Place) -> Iterator[Gate]:
    library = place.path / "resty" / "openidc.lua"
    if not library.exists():
        raise RuntimeError(f"{library} does not exist")
    own = place.path / "modules"
    libraries = place.path / "lib"
    yield Gate(
        version=_read_version(library),
        render_site=lambda way: _render_site(place),
        log_in=log_in_by_provider(place),
        in_nginx=True,
        http=_render_http(place),
        modules=[(own if (own / name).exists() else _SYSTEM) / name for name in _MODULES],
        library_directory=libraries if libraries.is_dir() else None,
    )


def _read_version(library: Path) -> str:
    found = re.search(r'_VERSION = "([^"]+)"', library.read_text())
    return found[1] if found else "unknown"


def _render_http(place: Place) -> str:
    return f"""
    lua_package_path '{place.path}/?.lua;{place.path}/?/init.lua;;';
    lua_package_cpath '{place.path}/?.so;;';
    lua_shared_dict discovery 1m;
    lua_shared_dict jwks 1m;
    init_by_lua_block {{ require("resty.session").init({{ secret = "{make_secret()}" }}) }}
    """


def _render_site(place: Place) -> str:
    return f"""
    location / {{
        access_by_lua_block {{
            local opts = {{
                redirect_uri = "{place.page.rstrip("/")}{LUA_RESTY_OPENIDC.callback}",
                discovery = "{place.provider.issuer}/.well-known/openid-configuration",
                client_id = "{LUA_RESTY_OPENIDC.name}",
                client_secret = "{place.client_secret}",
                scope = "openid email profile",
                -- The identity provider of the tests insists on it.
                use_pkce = true,
            }}
            local res, err = require("resty.openidc").authenticate(opts)
            if err then
                ngx.status = 500
                ngx.say(err)
                ngx.exit(ngx.HTTP_INTERNAL_SERVER_ERROR)
            end
            ngx.req.set_header("X-USER", res.id_token.sub)
        }}
        {TO_APPLICATION}
    }}
    """


LUA_RESTY_OPENIDC = Peer(
    "lua-resty-openidc",
    "a directory with resty/openidc.lua, all that it requires, and what Debian's libnginx-mod-http-lua has in modules/",
    "",
    "/redirect_uri",
    _run,
)
