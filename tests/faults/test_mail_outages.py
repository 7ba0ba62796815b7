"""Mail servers that never answer: nobody waits for them but the mail, and authd stops all the same."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.stories.codes import ask_for_code, start_stack_with_codes
from tests.stories.waiting import wait_until


@contextmanager
def silent_server() -> Iterator[int]:
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        yield listener.getsockname()[1]


def test_a_mail_server_that_says_nothing_delays_no_page_and_no_stop(tmp_path: Path) -> None:
    with silent_server() as port, start_stack_with_codes(tmp_path) as (stack, _):
        (provider,) = stack.config["identity_providers"]
        stack.stop_authd()
        mail = {**provider["mail"], "server": f"localhost:{port}"}
        stack.write_config(identity_providers=[{**provider, "mail": mail}])
        stack.start_authd()

        for number in range(8):
            began = time.monotonic()
            _, page = ask_for_code(stack, stack.url("grafana.test"), f"somebody{number}@example.com")
            assert "under way" in page.text
            assert time.monotonic() - began < 2
        time.sleep(1)  # until every mail is in the hands of a thread, or waits for one
        began = time.monotonic()
        stack.stop_authd()

        assert time.monotonic() - began < 5
        assert stack.events("error.unhandled") == []


def test_a_mail_server_that_is_down_is_told_at_once_and_asked_again(tmp_path: Path) -> None:
    with start_stack_with_codes(tmp_path) as (stack, mail_server):
        (provider,) = stack.config["identity_providers"]
        stack.stop_authd()
        with socket.create_server(("127.0.0.1", 0)) as placeholder:
            port = placeholder.getsockname()[1]
        mail = {**provider["mail"], "server": f"localhost:{port}"}
        stack.write_config(identity_providers=[{**provider, "mail": mail}])
        stack.start_authd()

        ask_for_code(stack, stack.url("grafana.test"), "alice@example.com")

        wait_until(lambda: stack.events("pin.mail_delayed"), "the first failure in the log")
        assert stack.events("pin.mail_delayed")[0]["cause"] == "unreachable"
        # The operator mends it, and the mail that waits goes out without anybody asking again.
        stack.write_config(identity_providers=[provider])
        stack.reload()
        assert mail_server.find_for("alice@example.com").code
