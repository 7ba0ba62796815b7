"""How rules are combined: any of `include`, all of `require`, none of `exclude`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from authd.model import Facts
from authd.policy.rules import Answer, CertificateRule, ExternalEvaluationRule, Rule, Step


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Matches if any of `include`, all of `require` and none of `exclude` match."""

    include: tuple[Rule, ...]
    require: tuple[Rule, ...]
    exclude: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class GroupRule:
    name: str
    rules: RuleSet

    @property
    def text(self) -> str:
        return f"group: {self.name}"

    def answer(self, facts: Facts, trace: list[Step] | None) -> Answer:
        return evaluate(self.rules, facts, trace)


def evaluate(rules: RuleSet, facts: Facts, trace: list[Step] | None = None) -> Answer:
    """Kleene's logic: False as soon as one part is, None if a part that counts cannot say.

    Only what is needed for the answer is looked at, so that a trace shows why, and no more.
    """
    included = _any(rules.include, "include", facts, trace)
    if included is False:
        return False
    required = _all(rules.require, "require", facts, trace)
    if required is False:
        return False
    excluded = _any(rules.exclude, "exclude", facts, trace)
    if excluded is True:
        return False
    return None if included is None or required is None or excluded is None else True


def walk(rules: RuleSet) -> Iterator[Rule]:
    """Every rule, those within groups too."""
    for rule in (*rules.include, *rules.require, *rules.exclude):
        if isinstance(rule, GroupRule):
            yield from walk(rule.rules)
        else:
            yield rule


def asks_for_certificates(rules: RuleSet) -> bool:
    """Whether any rule looks at a client certificate."""
    return any(isinstance(rule, CertificateRule) for rule in walk(rules))


def find_evaluations(rules: RuleSet) -> list[ExternalEvaluationRule]:
    """The rules that an evaluator has to be asked about."""
    return [rule for rule in walk(rules) if isinstance(rule, ExternalEvaluationRule)]


def find_deciding_rule(rules: RuleSet, facts: Facts) -> str | None:
    """`include[1] group: engineers`: the first rule that includes somebody, else the first that may. The set has not
    answered False."""
    if len(rules.include) == 1:
        return f"include[0] {rules.include[0].text}"
    unsure: str | None = None
    for position, rule in enumerate(rules.include):
        answer = rule.answer(facts, None)
        if answer is True:
            return f"include[{position}] {rule.text}"
        if answer is None and unsure is None:
            unsure = f"include[{position}] {rule.text}"
    return unsure


def _any(rules: tuple[Rule, ...], section: str, facts: Facts, trace: list[Step] | None) -> Answer:
    answer: Answer = False
    for position, rule in enumerate(rules):
        said = rule.answer(facts, None) if trace is None else _ask(rule, section, position, facts, trace)
        if said is True:
            return True
        if said is None:
            answer = None
    return answer


def _all(rules: tuple[Rule, ...], section: str, facts: Facts, trace: list[Step] | None) -> Answer:
    answer: Answer = True
    for position, rule in enumerate(rules):
        said = rule.answer(facts, None) if trace is None else _ask(rule, section, position, facts, trace)
        if said is False:
            return False
        if said is None:
            answer = None
    return answer


def _ask(rule: Rule, section: str, position: int, facts: Facts, trace: list[Step]) -> Answer:
    inner: list[Step] = []
    answer = rule.answer(facts, inner)
    trace.append(Step(f"{section}[{position}]", rule.text, answer, tuple(inner)))
    return answer
