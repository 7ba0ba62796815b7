"""Why a decision is what it is: the same loop as `decide`, with a trace, in words or as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from authd.model import Decision, Facts, Outcome, Reason
from authd.policy.decide import decide
from authd.policy.index import Application, PolicyIndex
from authd.policy.rules import Step

_ANSWERS = {True: "yes", False: "no", None: "cannot say"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and what was looked at on the way to it, in order. `application` may be None."""

    host: str
    path: str
    application: Application | None
    decision: Decision
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        decision = self.decision
        return {
            "host": self.host,
            "path": self.path,
            "application": decision.application_id,
            "outcome": decision.outcome.value,
            "reason": decision.reason.value,
            "policy_id": decision.policy_id,
            "policy_name": decision.policy_name,
            "rule": decision.rule,
            "steps": [_step_to_json(step) for step in self.steps],
        }


def explain(index: PolicyIndex, *, host: str, path: str, facts: Facts) -> Explanation:
    """The decision about a request, with every policy and rule that was looked at."""
    application = index.find_application(host, path)
    if application is None:
        unknown = Decision(Outcome.DENY, Reason.APPLICATION_UNKNOWN)
        return Explanation(host, path, None, unknown, ())
    trace: list[Step] = []
    decision = decide(application, facts, trace)
    return Explanation(host, path, application, decision, tuple(trace))


def render_explanation(explanation: Explanation) -> str:
    """The explanation as indented lines for a terminal."""
    decision = explanation.decision
    name = decision.application_id or "none covers this host and path"
    lines = [f"application: {name}", *_render_steps(explanation.steps, depth=0)]
    lines.append(f"outcome: {decision.outcome} ({decision.reason})")
    if decision.policy_name is not None:
        lines.append(f"decided by: policy {decision.policy_name!r}, {decision.rule}")
    return "\n".join(lines)


def _render_steps(steps: Iterable[Step], depth: int) -> Iterator[str]:
    for step in steps:
        yield f"{'  ' * depth}{step.place} {step.text}: {_ANSWERS[step.answer]}"
        yield from _render_steps(step.steps, depth + 1)


def _step_to_json(step: Step) -> dict[str, Any]:
    return {
        "place": step.place,
        "text": step.text,
        "answer": step.answer,
        "steps": [_step_to_json(inner) for inner in step.steps],
    }
