"""Whatever step of authd fails, in whatever way: nobody gets in who may not, and nobody is logged out.

Through the real nginx. The list of steps is found by looking at the program (tests/faults/failpoints.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.failpoints import ERRORS, LOG_VARIABLE, VALUES, find_failpoints
from tests.faults.other_visits import type_code
from tests.faults.test_background_steps import STEPS as BACKGROUND_STEPS
from tests.faults.visits import COOKIE, HOST, OTHER_HOST, VISITS, Scene, Visit, set_scene, wait_until
from tests.harness.browser import Answer

pytestmark = pytest.mark.nginx

Case = tuple[Visit, str, str, str]  # what somebody does; which step fails; before or after it; how


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("failpoints")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(LOG_VARIABLE, str(directory / "failpoints.log"))
        with set_scene(directory) as prepared:
            yield prepared


@pytest.fixture(scope="module")
def steps(scene: Scene) -> dict[str, list[str]]:
    """The steps that each visit goes through while nothing fails."""
    traced = {}
    for number, visit in enumerate(VISITS):
        case = f"trace{number}"
        visit.go(scene, f"{case}~{visit.where}~trace")
        if visit.last:
            wait_until(lambda case=case, last=visit.last: last in scene.log.passed(case))
        traced[visit.name] = scene.log.passed(case)
    return traced


# Steps that no visitor's request goes through, and what makes them fail instead.
_ELSEWHERE = {
    "Worker.start": "test_background",
    "Worker._run_once": "test_background",
    "Worker.upkeep": "test_background",
    "Worker.run": "test_background",
    "Worker._follow_store": "test_background",
    "Sessions.start": "test_background",
    "Sessions.poll": "test_background",
    "SharedKeyring.refresh": "test_background",
    "SharedKeyring.learn": "tests/authd/test_shared_keyring.py: only for a key of another worker's",
    "SharedKeyring._look_soon": "tests/authd/test_shared_keyring.py: only for a key of another worker's",
    "Records.load_keyring": "test_background",
    "Records.change_keyring": "test_background",
    "Records._find_or_make_keyring": "test_background",
    "Records.find_keyring": "authd keys",
    "Records.end_key": "authd keys",
    "KeyChanges.list": "authd keys",
    "KeyChanges.rotate": "authd keys",
    "KeyChanges.retire": "authd keys",
    "KeyChanges._find": "authd keys",
    "KeyChanges._change": "authd keys",
    "KeyChanges._patiently": "authd keys",
    "SqliteStore.cursor": "test_background",
    "SqliteStore.tombstones_since": "test_background",
    "SqliteStore.sweep": "test_background",
    "SqliteStore.size": "nothing but `state migrate` calls it",
    "SqliteStore.check": "before anybody is served",
    "SqliteStore._read_page": "nothing but `state migrate` calls it",
    "SqliteStore.close": "at the end of the process",
    "_Lifespan.process_startup": "test_background",
    "_Lifespan.process_shutdown": "at the end of the process",
    "Worker.stop": "at the end of the process",
    "PinOutbox.stop": "at the end of the process",
    "PinOutbox.adopt": "tests/authd/test_pin_outbox.py",
    "PromptWorker._end_when_idle": "at the end of the process",
    "RequestCounter.__call__": "around the orders, so that none reaches it",
    "RequestCounter.answer": "around the orders, so that none reaches it",
    "Check.__call__": "for requests that nginx does not send: tests/authd/resources/test_check.py",
    "Health.on_get_healthz": "nginx leads nobody there",
    "Health.on_get_readyz": "nginx leads nobody there",
    "MetricsResource.on_get": "nginx leads nobody there",
    "ListenerSecret.process_request": "only with a TCP listener",
    "ErrorHandlers.answer_malformed": "nginx sends nothing malformed",
    "ErrorHandlers.answer_store_error": "a second fault: see below",
    "ErrorHandlers.answer_unforeseen": "a second fault: see below",
    "ProviderKeys._find_from_others": "test_key_rollover",
    "Records.find": "test_key_rollover",
    "NothingShared.find": "never in the program",
    "NothingShared.leave": "never in the program",
    "Records.add_revocation": "authd sessions",
    "ServiceTokenChanges.create": "authd service-tokens",
    "ServiceTokenChanges.delete": "authd service-tokens",
    "ServiceTokenChanges.enable": "authd service-tokens",
    "ServiceTokenChanges.extend": "authd service-tokens",
    "ServiceTokenChanges.get": "authd service-tokens",
    "ServiceTokenChanges.list": "authd service-tokens",
    "ServiceTokenChanges.rotate": "authd service-tokens",
    "ServiceTokenRows._tell": "authd service-tokens",
    "ServiceTokenRows.delete": "authd service-tokens",
    "ServiceTokenRows.find_use": "authd service-tokens",
    "ServiceTokenRows.list": "authd service-tokens",
    "ServiceTokenRows.put": "authd service-tokens",
    "SessionChanges._end_what_is_ahead": "authd sessions",
    "SessionChanges.get": "authd sessions",
    "SessionChanges.last_use": "authd sessions",
    "SessionChanges.list": "authd sessions",
    "SessionChanges.revoke_application": "authd sessions",
    "SessionChanges.revoke_everything": "authd sessions",
    "SessionChanges.revoke_person": "authd sessions",
    "SessionChanges.revoke_provider": "authd sessions",
    "SessionChanges.revoke_session": "authd sessions",
    "Sessions.revoke": "authd sessions",
    **dict.fromkeys(BACKGROUND_STEPS, "test_background_steps"),
    "Records.list_revocations": "test_background",
    "PinOutbox.settle": "never in the program",
    "PinOutbox._put_off": "tests/faults/test_mail_outages.py",
    "PinRows.list_mails": "tests/authd/test_pin_outbox.py",
    "OneTimePinProvider.refresh": "never in the program: nothing that comes with a code could be refreshed",
    "OidcProvider._verify_userinfo": "tests/authd/idp: this provider signs no userinfo",
}
# Steps that a visit leads to and does not wait for: see `test_a_fault_behind_the_visitors_back_lets_nobody_in`.
_BEHIND = frozenset(
    {"CodeLimits.count_mail", "OneTimePinProvider.send", "PinMails._allow", "PinMails._send", "PinOutbox._hand_over"}
    | {"PinOutbox._try", "PinOutbox._work_or_report", "PinOutbox.pause", "PinOutbox.send", "PinRows.is_known_network"}
    | {"PinRows.put_mail", "PinRows.replace_mail", "PinRows.take_mail", "PostOffice.hand_over", "Records.add_pin"}
)
# Whoever awaits these has been answered when they end.
_OUTERMOST = frozenset({"Application.__call__"})
# No call of these can fail for the store: what they then answer is not made for it.
_BEFORE_THE_STORE = (
    "Application.__call__",
    "RefuseByDefault.process_request",
    "ErrorHandlers.answer_http_error",
    "ErrorHandlers.answer_issuer_error",
    "ErrorHandlers.answer_login_error",
)
# Faults that are borne: the step is of use to others only, and what it was for goes on.
_BORNE = {
    ("Records.leave", "StoreUnavailableError"),
    ("Records.leave", "StoreDamagedError"),
    ("Records.leave_key_set", "StoreUnavailableError"),
    ("GithubProvider.logout_url", "ProviderUnavailableError"),
    ("OneTimePinProvider.logout_url", "ProviderUnavailableError"),
    # The next one is asked whose word it is.
    ("GithubProvider.read_logout_token", "ProviderUnavailableError"),
    ("OneTimePinProvider.read_logout_token", "ProviderUnavailableError"),
}
_ERRORS_FOR_NARROW_VISITS = ("RuntimeError", "StoreUnavailableError", "ProviderUnavailableError", "CancelledError")
_ERRORS_FOR_DEAR_VISITS = ("RuntimeError", "StoreUnavailableError")
# On a busy machine the store's own deadline may be first.
_TRIES = 10


def test_every_step_is_made_to_fail(steps: dict[str, list[str]]) -> None:
    """A new `async def` fails this test until a visit leads through it."""
    passed = {name for names in steps.values() for name in names}
    # Redis is another installation: tests/faults/test_redis*.py breaks the real one.
    here = {name for name in find_failpoints() if not name.startswith("Redis")}
    assert here - passed == set(_ELSEWHERE), (here - passed) ^ set(_ELSEWHERE)
    assert passed >= _BEHIND
    in_background = {name for name, where in _ELSEWHERE.items() if where == "test_background_steps"}
    assert in_background == set(BACKGROUND_STEPS)


@pytest.mark.parametrize("visit", VISITS, ids=lambda visit: visit.name)
def test_an_error_lets_nobody_in(scene: Scene, steps: dict[str, list[str]], visit: Visit) -> None:
    errors = _ERRORS_FOR_NARROW_VISITS if visit.is_narrow else _ERRORS_FOR_DEAR_VISITS if visit.is_dear else ERRORS
    names = _find_broken(steps, visit)
    cases = [(visit, name, "before", error) for name in names for error in errors]
    cases += [(visit, name, "after", "RuntimeError") for name in names if name not in _OUTERMOST]
    for (_, name, _, error), answer in _run(scene, cases):
        if (name, error) in _BORNE:
            continue
        assert answer.status in (400, 401, 403, 500, 503), (name, error, answer)
        if error.startswith("Store") and name not in _BEFORE_THE_STORE:
            assert answer.status == 503, (name, error, answer)
            assert answer.get("Retry-After"), (name, error, answer)
    _assert_everybody_is_still_logged_in(scene)


@pytest.mark.parametrize("visit", VISITS, ids=lambda visit: visit.name)
def test_a_broken_answer_lets_nobody_in(scene: Scene, steps: dict[str, list[str]], visit: Visit) -> None:
    """A step that gives back nonsense instead of its answer, having done its work or not."""
    values = ("garbage",) if visit.is_dear else VALUES
    names = _find_broken(steps, visit)
    cases = [(visit, name, at, value) for name in names for at in ("before", "after") for value in values]
    _run(scene, cases)
    _assert_everybody_is_still_logged_in(scene)


def test_a_fault_behind_the_visitors_back_lets_nobody_in(scene: Scene) -> None:
    """The mail with a code goes out after the answer. Whatever fails there, nobody gets in by it, and the next one goes
    out."""
    (visit,) = [visit for visit in VISITS if visit.name == "order of a code"]
    for name in sorted(_BEHIND):
        for action in ("RuntimeError", "StoreUnavailableError", "TimeoutError", "CancelledError", "garbage"):
            scene.case_number += 1
            case = f"behind{scene.case_number}"
            answer = visit.go(scene, f"{case}~{visit.where}~{name}~before~{action}")
            assert answer.status == 303, (name, action, answer)
            wait_until(lambda case=case, name=name: scene.log.failed(case) == [name])
    assert type_code(scene, "none~none~none").status == 200
    _assert_everybody_is_still_logged_in(scene)


def test_a_second_fault_in_the_answer_to_the_first_lets_nobody_in(scene: Scene) -> None:
    handlers = {"answer_store_error": "StoreUnavailableError", "answer_unforeseen": "RuntimeError"}
    cases = [
        (visit, f"RefuseByDefault.process_request+ErrorHandlers.{handler}", "before", error)
        for visit in VISITS
        if visit.where != "auth"  # the check is past falcon, and has no handlers
        for handler, error in handlers.items()
    ]
    for case, answer in _run(scene, cases):
        assert answer.status in (500, 503), (case, answer)
    _assert_everybody_is_still_logged_in(scene)


def test_a_step_that_never_ends_lets_nobody_in(scene: Scene, steps: dict[str, list[str]]) -> None:
    """nginx gives the check 4 s with its second try, here the rest as well, and then shows its own page.

    400 comes from a second try of what can only be done once: the page that leads back to the beginning of the login.
    """
    for case, answer in _run(scene, _once_each(steps, "hang"), at_once=50):
        # What waits for a partner has a deadline of its own.
        assert answer.status in ((400, 401, 403, 503) if case[0].is_narrow else (400, 503)), (case, answer)
    _assert_everybody_is_still_logged_in(scene)


def test_a_worker_killed_at_any_step_lets_nobody_in(scene: Scene, steps: dict[str, list[str]]) -> None:
    """A request that kills whoever answers it is tried twice; then the visitor sees nginx' own page."""
    cases = {case[1]: case for case in _once_each(steps, "kill") if "._" not in case[1] and not case[0].is_narrow}
    for case, answer in _run(scene, cases.values(), at_once=1):
        assert answer.status in (400, 503), (case, answer)
    _assert_everybody_is_still_logged_in(scene)


def _once_each(steps: dict[str, list[str]], action: str) -> list[Case]:
    """Every step once for each path of authd that leads through it."""
    cases: dict[tuple[str, str], Case] = {}
    for visit in VISITS:
        for name in _find_broken(steps, visit):
            cases.setdefault((visit.where, name), (visit, name, "before", action))
    return list(cases.values())


def _find_broken(steps: dict[str, list[str]], visit: Visit) -> list[str]:
    """The steps of a visit that are broken for it."""
    if not visit.is_narrow:
        return steps[visit.name]
    before = {name for other in VISITS[: VISITS.index(visit)] for name in steps[other.name]}
    return [name for name in steps[visit.name] if name not in before | _BEHIND]


def _run(scene: Scene, cases: Iterable[Case], at_once: int = 8) -> list[tuple[Case, Answer]]:
    """Make each case happen, and check what holds for all of them. Fails where a fault did not happen."""

    def run(case: Case) -> Answer:
        for _ in range(_TRIES):
            wait_until(lambda: scene.stack.ask_authd("/healthz") == 200)
            has_happened, answer = _try(scene, case)
            if has_happened:
                return answer
        raise AssertionError(f"the fault did not happen: {case}, {answer}")

    listed = list(cases)
    with ThreadPoolExecutor(at_once) as threads:
        return list(zip(listed, threads.map(run, listed), strict=True))


def _try(scene: Scene, case: Case) -> tuple[bool, Answer]:
    visit, names, position, action = case
    scene.case_number += 1
    number = f"{action}{scene.case_number}"
    answer = visit.go(scene, f"{number}~{visit.where}~{names}~{position}~{action}")
    assert visit.may_pass or not scene.reached(number), (case, answer)
    assert visit.may_pass or b'"application": true' not in answer.body, (case, answer)
    _assert_no_session_is_deleted(answer, case)
    has_raised_itself = position == "after" and answer.status >= 400
    return has_raised_itself or scene.log.failed(number) == names.split("+"), answer


def _assert_no_session_is_deleted(answer: Answer, case: Case) -> None:
    """A fault of ours never ends a session. A logout that took place is no fault, whatever happened after it."""
    _, name, position, _ = case
    has_logged_out = answer.status == 200 and "logged out" in answer.text
    has_logged_out |= position == "after" and name.endswith(("_log_out", "on_post_logout", "on_post_end_session"))
    for line in answer.get_all("Set-Cookie"):
        is_session = line.startswith((COOKIE, "CF_Authorization", "__Host-authd_team"))
        assert has_logged_out or not (is_session and "Max-Age=0" in line), (case[1:], answer.status, line)


def _assert_everybody_is_still_logged_in(scene: Scene) -> None:
    assert scene.alice.request(scene.stack.url(HOST)).status == 200
    assert scene.alice.visit(scene.stack.url(OTHER_HOST)).status == 200
    assert scene.mallory.request(scene.stack.url(OTHER_HOST)).status == 200
    assert scene.bob.request(scene.stack.url(HOST)).status == 403
