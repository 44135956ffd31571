from __future__ import annotations

import pytest

from destinations.warehouse.identity.block_list import (
    DEFAULT_RULES,
    BlockList,
    BlockRule,
    compile_pattern,
)


@pytest.mark.parametrize(
    "value", ["null", "NaN", "[object Object]", "-1", "0", "00000000-0000", "-"]
)
def test_values_for_nobody_are_blocked_by_default(value):
    assert BlockList(DEFAULT_RULES).blocking_rule("user_id", value) is not None


@pytest.mark.parametrize("value", ["nullable", "NuLL", "10", "null ", "0\n"])
def test_values_that_are_only_similar_are_not_blocked(value):
    assert BlockList(DEFAULT_RULES).blocking_rule("user_id", value) is None


def test_a_rule_that_allows_wins_over_one_that_blocks():
    blocks = BlockList(
        [
            BlockRule(1, pattern="test-.*"),
            BlockRule(2, exact="test-1", action="allow"),
            BlockRule(3, exact="test-2", action="allow", id_type="email"),
        ]
    )

    assert blocks.blocking_rule("user_id", "test-0") == 1
    assert blocks.blocking_rule("user_id", "test-1") is None
    assert blocks.blocking_rule("user_id", "test-2") == 1
    assert blocks.blocking_rule("email", "test-2") is None


def test_of_rules_that_block_a_value_an_exact_one_counts_then_the_oldest():
    exact = [BlockRule(4, exact="test-1"), BlockRule(3, exact="test-1")]
    patterns = [BlockRule(2, pattern="test-.*"), BlockRule(1, pattern="test-[0-9]")]

    assert BlockList(exact + patterns).blocking_rule("user_id", "test-1") == 3
    assert BlockList(patterns).blocking_rule("user_id", "test-1") == 1


def test_a_rule_for_another_type_is_passed_over():
    rules = [BlockRule(1, exact="x", id_type="email"), BlockRule(2, exact="x")]

    assert BlockList(rules).blocking_rule("user_id", "x") == 2


@pytest.mark.parametrize("pattern", ["^[0-]+$", "test.*", r"bot-\d", "[^a-z]*x", r"\[x\]"])
def test_a_pattern_of_characters_and_classes_is_taken(pattern):
    assert compile_pattern(pattern).pattern == pattern


@pytest.mark.parametrize("pattern", ["(a+)+", "a*b*", "a?", "a{2}", "a|b", "", "[z-a]", r"(\w)\1"])
def test_a_pattern_that_may_take_long_is_refused(pattern):
    with pytest.raises(ValueError, match="pattern"):
        compile_pattern(pattern)
