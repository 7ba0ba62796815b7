"""The decision: one loop over an application's policies, the first one that settles it wins."""

from __future__ import annotations

from authd.model import Decision, Facts, Outcome, Reason
from authd.policy.index import Application, Policy
from authd.policy.rule_sets import evaluate, find_deciding_rule
from authd.policy.rules import Answer, Step

_REASONS = {
    Outcome.ALLOW: Reason.POLICY_ALLOW,
    Outcome.BYPASS: Reason.POLICY_BYPASS,
    Outcome.LOGIN: Reason.NO_CREDENTIAL,
    Outcome.DENY: Reason.POLICY_DENY,
}


def decide(application: Application, facts: Facts, trace: list[Step] | None = None) -> Decision:
    """What today's policies say about somebody, with the policy and rule that said it.

    With a `trace`, appends a step for every policy that was looked at. LOGIN is answered only to
    somebody who has not logged in, and only where a login could help. Nothing matched is a denial. For a machine only
    `bypass` and `non_identity` count, which stand first: a rule about everybody who can log in is not about it.
    """
    for policy in application.policies:
        if facts.machine is not None and policy.decision in ("allow", "deny"):
            break
        answer = _ask(policy, facts, trace)
        outcome = _settle(policy, answer, has_identity=facts.identity is not None)
        if outcome is not None:
            return _describe(application, policy, outcome, facts)
    return Decision(Outcome.DENY, Reason.NO_POLICY_MATCHED, application.id)


def _settle(policy: Policy, answer: Answer, *, has_identity: bool) -> Outcome | None:
    """What a policy's answer means, None to go on with the next. An unsure answer never lets anybody in."""
    if answer is False:
        return None
    if policy.decision == "allow":
        # Everybody who is allowed is somebody: without a login there is no one to allow.
        if not has_identity:
            return Outcome.LOGIN
        return Outcome.ALLOW if answer is True else None
    if policy.decision == "deny":
        # After a login, a denial that cannot be ruled out stands; before it, login will tell.
        return Outcome.DENY if answer is True or has_identity else None
    if answer is True:
        return Outcome.BYPASS if policy.decision == "bypass" else Outcome.ALLOW
    return None


def _describe(application: Application, policy: Policy, outcome: Outcome, facts: Facts) -> Decision:
    if outcome is Outcome.LOGIN:
        return Decision(outcome, Reason.NO_CREDENTIAL, application.id)
    rule = find_deciding_rule(policy.rules, facts)
    seconds = policy.session_duration_seconds
    return Decision(outcome, _REASONS[outcome], application.id, policy.id, policy.name, rule, seconds)


def _ask(policy: Policy, facts: Facts, trace: list[Step] | None) -> Answer:
    if trace is None:
        return evaluate(policy.rules, facts, None)
    inner: list[Step] = []
    answer = evaluate(policy.rules, facts, inner)
    trace.append(Step(policy.decision, policy.name, answer, tuple(inner)))
    return answer
