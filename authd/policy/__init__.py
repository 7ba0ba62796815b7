"""Who may pass: applications, their policies, the decision and its explanation."""

from authd.policy.decide import decide
from authd.policy.explain import Explanation, explain, render_explanation
from authd.policy.index import Application, Policy, PolicyIndex, build_index
from authd.policy.rules import Step

__all__ = [
    "Application",
    "Explanation",
    "Policy",
    "PolicyIndex",
    "Step",
    "build_index",
    "decide",
    "explain",
    "render_explanation",
]
