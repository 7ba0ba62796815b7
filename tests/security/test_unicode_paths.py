"""Letters that are slashes and dots to some programs: overlong, raw, escaped twice, full width (attacks.md 1.10)."""

from __future__ import annotations

import pytest

from authd.urls import is_ambiguous_path, readings_of
from tests.security.conftest import StartEdge
from tests.security.edge import ADMINS, OPEN, STAFF

APPLICATIONS = [
    {"id": "site", "domains": ["paths.test"], "policies": [STAFF]},
    {"id": "public", "domains": ["paths.test/public"], "policies": [OPEN]},
    {"id": "street", "domains": ["paths.test/straße"], "policies": [ADMINS]},
]
RAW = "/stra\xc3\x9fe"


@pytest.mark.parametrize(
    "raw_path",
    [
        f"/x/..%252f{RAW[1:]}",
        f"/x/..;{RAW}",
        f"/x/..%253b{RAW}",
        f"/x%255c..%255c{RAW[1:]}",
        f"/x/..%ef%bc%8f{RAW[1:]}",
    ],
)
async def test_a_name_in_raw_bytes_is_recognised_in_every_reading(start_edge: StartEdge, raw_path: str) -> None:
    """A reading that was decoded used to garble them, and the stricter application was not recognised."""
    assert "/straße" in readings_of(raw_path)
    edge = await start_edge(applications=APPLICATIONS)
    token = edge.cookie(edge.token(await edge.log_in(), "site"), "site")
    path = raw_path.replace("%25", "%").replace("%ef%bc%8f", "\xef\xbc\x8f").encode("latin-1")
    answer = await edge.check("paths.test", raw_path, cookie=token, x_original_path=path, x_authd_app="site")
    assert answer.status == 403


@pytest.mark.parametrize(
    "text", ["..／admin", "..＼admin", "．．/admin", "‥/admin", "․․/admin", "./admin／..".replace("./", "．/")]
)
async def test_a_letter_that_normalises_to_a_slash_or_a_dot_is_one(start_edge: StartEdge, text: str) -> None:
    """IIS, and whatever applies NFKC: the permission for `/public` must not be one for what they read."""
    edge = await start_edge(applications=APPLICATIONS)
    raw = "/public/" + "".join(f"%{byte:02x}" if byte > 127 else chr(byte) for byte in text.encode())
    answer = await edge.check("paths.test", raw, x_original_path=f"/public/{text}".encode(), x_authd_app="public")
    assert answer.status == 403


@pytest.mark.parametrize("text", ["Bericht….pdf", "何？", "１００％", "ﬁne", "½", "straße", "a%20b", "été"])
def test_other_letters_are_only_themselves(text: str) -> None:
    raw = "/public/" + "".join(f"%{byte:02x}" if byte > 127 else chr(byte) for byte in text.encode())
    assert not is_ambiguous_path(raw)
