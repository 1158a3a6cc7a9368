"""Compares the tests that ctest skipped with the ones that may be skipped on this host.

usage: skips.py [--subset] JUNIT_XML [EXPECTED_SKIPS]

A skipped test must match a line of expected_skips.txt whose condition holds here: a KVM test that is
skipped where /dev/kvm works is an error. A line that matches no test at all is one too, and so are
fewer tests than expected, unless --subset says that only some tests were run."""

import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import host


@dataclass
class Rule:
    condition: str
    pattern: re.Pattern
    reason: str


def parse_rules(text: str) -> tuple[int, list[Rule]]:
    """The least number of tests, and the rules."""
    least, rules = 0, []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        condition, pattern, *reason = line.split(maxsplit=2)
        if condition == "tests-at-least":
            least = int(pattern)
        else:
            rules.append(Rule(condition, re.compile(pattern), reason[0] if reason else ""))
    return least, rules


def outcomes(junit: str) -> dict[str, bool]:
    """Test name -> whether it was skipped."""
    cases = ElementTree.fromstring(junit).iter("testcase")
    return {case.get("name", ""): case.find("skipped") is not None for case in cases}


def judge(tests: dict[str, bool], least: int, rules: list[Rule],
          holds: dict[str, bool]) -> list[str]:
    problems = []
    if len(tests) < least:
        problems.append(f"{len(tests)} tests ran, at least {least} are expected")
    for rule in rules:
        if rule.condition not in holds:
            problems.append(f"unknown condition {rule.condition}")
        if not rule.reason:
            problems.append(f"{rule.pattern.pattern}: no reason is given")
        if not any(rule.pattern.fullmatch(name) for name in tests):
            problems.append(f"{rule.pattern.pattern}: matches no test; remove or mend the line")
    for name, skipped in tests.items():
        allowed = any(rule.pattern.fullmatch(name) and holds.get(rule.condition, False)
                      for rule in rules)
        if skipped and not allowed:
            problems.append(f"{name} was skipped, and nothing in expected_skips.txt allows it here")
    return problems


def main() -> int:
    arguments = [argument for argument in sys.argv[1:] if argument != "--subset"]
    if len(arguments) not in (1, 2):
        sys.exit(__doc__)
    expected = Path(arguments[1] if len(arguments) == 2
                    else Path(__file__).with_name("expected_skips.txt"))
    least, rules = parse_rules(expected.read_text(encoding="utf-8"))
    tests = outcomes(Path(arguments[0]).read_text(encoding="utf-8"))
    if "--subset" in sys.argv:
        least = 1
        rules = [rule for rule in rules if any(rule.pattern.fullmatch(name) for name in tests)]
    holds = host.conditions()
    problems = judge(tests, least, rules, holds)
    for problem in problems:
        print(problem)
    conditions = ", ".join(name for name, value in holds.items() if value)
    print(f"skips: {len(tests)} tests, {sum(tests.values())} skipped, {len(problems)} problems "
          f"(conditions here: {conditions})")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
