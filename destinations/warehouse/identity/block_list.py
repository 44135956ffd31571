"""The block list: values such as "null" that clients send for unknown people."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

DEFAULT_EXACT = (
    "null", "NULL", "Null", "nil", "undefined", "None", "none", "NaN", "nan", "unknown", "n/a",
    "N/A", "anonymous", "guest", "not_authenticated", "-1", "0", "true", "false",
    "[object Object]", "id", "user_id", "userId", "anonymous_id", "anonymousId", "distinct_id",
    "email",
)  # fmt: skip
DEFAULT_PATTERNS = ("[0-]+",)

_SAFE_PATTERN = re.compile(
    r"""\^?
    (?: \\[dswDSW\\.\[\](){}*+?|^$/-] | \[\^?(?:\\.|[^\\\[\]])+\] | [^\\\[\](){}*+?|^$] )* [*+]?
    (?: \\[dswDSW\\.\[\](){}*+?|^$/-] | \[\^?(?:\\.|[^\\\[\]])+\] | [^\\\[\](){}*+?|^$] )*
    \$?""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class BlockRule:
    """Blocks or allows an exact value or a pattern, for one identifier type or for all (None)."""

    id: int
    exact: str | None = None
    pattern: str | None = None
    id_type: str | None = None
    action: str = "block"


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A pattern for whole values: characters and [classes], with at most one * or +.

    Groups, alternatives and further repetitions are refused, so that the time to match
    grows only with the length of the value.
    """
    if not pattern or not _SAFE_PATTERN.fullmatch(pattern):
        raise ValueError(
            f"the pattern {pattern!r} may contain only characters and [classes] with one * or +"
        )
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} cannot be read: {error}") from error


class BlockList:
    """Finds the rule that blocks an identifier; a rule that allows it wins over any that block."""

    def __init__(self, rules: Iterable[BlockRule] = ()) -> None:
        self._exact: dict[str, list[BlockRule]] = {}
        self._patterns: list[tuple[re.Pattern[str], BlockRule]] = []
        for rule in sorted(rules, key=lambda rule: (rule.action, rule.id)):  # allow, then block
            if rule.exact is not None:
                self._exact.setdefault(rule.exact, []).append(rule)
            else:
                self._patterns.append((compile_pattern(rule.pattern or ""), rule))

    def blocking_rule(self, id_type: str, value: str) -> int | None:
        """The id of the rule that blocks the identifier; None if no rule does."""
        exact = self._exact.get(value)
        if exact is None and not self._patterns:
            return None
        hits = list(exact or ())
        hits += [rule for pattern, rule in self._patterns if pattern.fullmatch(value)]
        hits = [rule for rule in hits if rule.id_type is None or rule.id_type == id_type]
        if not hits or any(rule.action == "allow" for rule in hits):
            return None
        return hits[0].id


DEFAULT_RULES = (
    *(BlockRule(number, exact=value) for number, value in enumerate(DEFAULT_EXACT, 1)),
    *(
        BlockRule(number, pattern=pattern)
        for number, pattern in enumerate(DEFAULT_PATTERNS, len(DEFAULT_EXACT) + 1)
    ),
)
