"""The misbehaving provider as a process of its own, as the tests through nginx use it."""

import json
import subprocess
import sys
import urllib.request
from typing import Any

from authd.errors import ProviderLiedError
from tests.authd.idp.logins import log_in, make_settings, make_worker


def control(issuer: str, **wanted: Any) -> dict[str, int]:
    request = urllib.request.Request(f"{issuer}/control", data=json.dumps(wanted).encode() if wanted else None)
    with urllib.request.urlopen(request, timeout=5) as answer:
        counts: dict[str, int] = json.load(answer)
    return counts


async def test_it_starts_misbehaves_and_is_told_to_behave() -> None:
    command = [sys.executable, "-m", "tests.idp_server", "--misbehave", "invalid-aud"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            issuer = process.stdout.readline().strip()
            worker = make_worker(make_settings(issuer))
            outcome = await _outcome(worker)
            assert isinstance(outcome, ProviderLiedError)
            control(issuer, claims={"email": "bob@example.com", "amr": None})
            outcome = await _outcome(worker)
            assert (outcome.email, outcome.auth_methods) == ("bob@example.com", ())
            assert control(issuer)["/token"] == 2
            worker.close()
        finally:
            process.terminate()


async def _outcome(worker: Any) -> Any:
    try:
        return await log_in(worker)
    except ProviderLiedError as lie:
        return lie
