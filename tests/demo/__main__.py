"""`python -m tests.demo`: starts everything, says where to look, and ends it all on Ctrl-C."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from authd.errors import AuthdError
from tests.demo.certificates import ensure_certificates
from tests.demo.configuration import write_configuration
from tests.demo.journey import check_journey
from tests.demo.leftovers import end_leftovers, only_one
from tests.demo.nginx_files import write_nginx_files
from tests.demo.parts import list_parts
from tests.demo.ports import require_free_port
from tests.demo.processes import StoppedError, Supervisor
from tests.demo.settings import HOSTS, DemoError, Settings, parse_settings
from tests.demo.welcome import render_welcome
from tests.harness.idp import IdentityProviderError

CHECKOUT = Path(__file__).parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description="authd and all that it needs, on this machine")
    parser.add_argument("--check", action="store_true", help="log in by script, report, and end")
    arguments = parser.parse_args()
    try:
        directory = Path(os.environ.get("DEMO_DIRECTORY") or CHECKOUT / ".demo")
        run(parse_settings(os.environ, directory), check=arguments.check)
    except (DemoError, IdentityProviderError, AuthdError) as error:
        print(f"\nThe demonstration ended: {error}", file=sys.stderr)
        return 1
    return 0


def run(settings: Settings, *, check: bool) -> None:
    """Raises DemoError, AuthdError or IdentityProviderError; nothing runs any more when it returns or raises."""
    run_directory = settings.directory / "run"
    for directory in (settings.directory, run_directory, settings.directory / "log"):
        # Sockets and keys are nobody else's business on a shared machine.
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with only_one(settings.directory):
        for name in end_leftovers(run_directory):
            _say(f"ended {name}, which an earlier run left behind")
        require_free_port(settings.port, "DEMO_PORT")
        require_free_port(settings.provider_port, "DEMO_PROVIDER_PORT", hosts=("127.0.0.1",))
        valid_until = ensure_certificates(settings.directory, HOSTS)
        _say(f"certificates for {', '.join(HOSTS)}, valid until {valid_until:%d %b %Y}")
        write_configuration(settings)
        audiences = write_nginx_files(settings)
        _say("configuration for authd and nginx")
        _supervise(settings, run_directory, audiences, check=check)


def _supervise(settings: Settings, run_directory: Path, audiences: dict[str, str], *, check: bool) -> None:
    with Supervisor(run_directory) as supervisor:
        try:
            for part in list_parts(settings, audiences):
                supervisor.start(part)
                _say(f"{part.name} is ready")
        except StoppedError:
            return
        if check:
            for sentence in check_journey(settings):
                _say(f"ok: {sentence}")
            return
        print(render_welcome(settings, os.environ), flush=True)
        supervisor.wait()
        _say("ending")
    _say("everything has ended")


def _say(sentence: str) -> None:
    print(f"demo: {sentence}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
