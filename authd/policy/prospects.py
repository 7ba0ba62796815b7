"""Whether it is worth while to ask somebody who they are: could they be let in, if they are whom they say?"""

from __future__ import annotations

from authd.model import Facts
from authd.policy.index import Application
from authd.policy.rule_sets import evaluate


def could_admit(application: Application, facts: Facts) -> bool:
    """True if a policy admits somebody with these facts, or may once more is known about them.

    The opposite of `decide` in one respect: what a rule cannot say counts for the person. So it lets nobody in; it
    says to whom a code by mail may be sent.
    """
    for policy in application.policies:
        answer = evaluate(policy.rules, facts)
        if policy.decision == "allow" and answer is not False:
            return True
        if policy.decision == "deny" and answer is True:
            return False
    return False
