from __future__ import annotations

import importlib.util
import json
import random
from pathlib import Path

import pytest
from psycopg.sql import SQL, Identifier

from destinations.postgres import identity
from destinations.warehouse.blocks import DEFAULT_RULES, BlockList
from destinations.warehouse.identity import (
    GraphOptions,
    MalformedMergeError,
    Rules,
    node_key,
    statement,
)
from destinations.warehouse.identity import Identifier as Named

CASES = Path(__file__).parents[2] / "cases"
SCHEMA = "identities of one"


def _oracle():
    spec = importlib.util.spec_from_file_location("identity_oracle", CASES / "identity_oracle.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ORACLE = _oracle()
SCENARIOS = {
    scenario["name"]: scenario
    for scenario in json.loads((CASES / "identity_scenarios.json").read_text())["scenarios"]
}
WITHOUT_OPERATOR = {
    name: scenario
    for name, scenario in SCENARIOS.items()
    if all(event["type"] != "op" for event in scenario["given"])
}


class Graph:
    """A fresh identity schema that takes events as the loader gives them."""

    def __init__(self, warehouse, config, schema=SCHEMA):
        traits = tuple(config.get("trait_identifiers", ()))
        self.options = GraphOptions(
            hub_limit=config.get("hub_limit"),
            size_limit=config.get("size_limit"),
            trait_identifiers=traits,
            null_clears=config.get("null_clears", False),
        )
        blocks = BlockList(DEFAULT_RULES if config.get("blocked") else ())
        self.rules = Rules(blocks, traits)
        self.conn, self.schema = warehouse, schema
        warehouse.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(schema)))
        identity.ensure_schema(warehouse, schema, "one", self.options)

    def load(self, events, chunk_size):
        statements = [stated for event in events for stated in self._statements(event)]
        for start in range(0, len(statements), chunk_size):
            with identity.operator_lock_shared(self.conn, self.schema):
                self.resolved = identity.resolve(
                    self.conn, self.schema, statements[start : start + chunk_size]
                )

    def _statements(self, event):
        try:
            stated = statement(event, event.get("source", "web"), self.rules)
        except MalformedMergeError:
            return []
        return [stated] if stated else []

    def rows(self, text):
        return self.conn.execute(SQL(text).format(schema=Identifier(self.schema))).fetchall()

    def clusters(self):
        """Each profile: its identifiers, and what rudder_profiles says of it."""
        members = {}
        for kind, value, rudder_id in self.rows(
            "SELECT merge_property_type, merge_property_value, rudder_id"
            " FROM {schema}.rudder_identity_mappings"
        ):
            members.setdefault(rudder_id, []).append((kind, value))
        profiles = self.rows(
            "SELECT rudder_id, user_id, traits, identifier_count, first_seen_at, last_seen_at"
            " FROM {schema}.rudder_profiles"
        )
        assert {row[0] for row in profiles} == set(members)
        assert all(row[3] == len(members[row[0]]) for row in profiles)
        return {
            tuple(sorted(members[row[0]])): {
                "rudder_id": row[0],
                "user_id": row[1],
                "traits": row[2],
                "seen": (row[4], row[5]),
            }
            for row in profiles
        }

    def salt(self):
        return self.rows("SELECT salt FROM {schema}.identity_meta")[0][0]


def _oldest_key(salt, profile):
    return min(node_key(salt, Named(*anchor)) for anchor in profile["anchors"])


def _assert_as_expected(graph, expected, traits="traits"):
    found = graph.clusters()
    wanted = {tuple(sorted(map(tuple, profile["ids"]))): profile for profile in expected}
    assert set(found) == set(wanted)
    salt = graph.salt()
    for ids, profile in wanted.items():
        assert found[ids]["rudder_id"] == _oldest_key(salt, profile), ids
        assert found[ids]["user_id"] == profile["user_id"], ids
        assert found[ids]["traits"] == profile[traits], ids


@pytest.mark.parametrize("name", WITHOUT_OPERATOR)
def test_a_scenario_gives_its_profiles(warehouse, name):
    scenario = WITHOUT_OPERATOR[name]
    graph = Graph(warehouse, scenario["config"])

    graph.load(scenario["given"], chunk_size=1)

    _assert_as_expected(graph, scenario["profiles"])


ORDER_FREE = sorted(set(WITHOUT_OPERATOR) - {"size-guard-refuses-a-link"})


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 1000])
@pytest.mark.parametrize("name", ORDER_FREE)
def test_a_scenario_gives_the_same_in_any_order_with_repeats(warehouse, name, chunk_size):
    scenario = WITHOUT_OPERATOR[name]
    graph = Graph(warehouse, scenario["config"])
    events = scenario["given"] + random.sample(scenario["given"], len(scenario["given"]) // 2)

    graph.load(random.sample(events, len(events)), chunk_size)
    graph.load(scenario["given"], chunk_size)

    _assert_as_expected(graph, scenario["profiles"])


STREAMS = [
    {},
    {"blocked": True},
    {"hub_limit": 3},
    {"blocked": True, "hub_limit": 2, "trait_identifiers": ["email"]},
    {"null_clears": True, "hub_limit": 10, "blocked": True},
]


@pytest.mark.parametrize("seed", range(20))
def test_a_stream_gives_what_the_oracle_says_in_any_order_and_chunks(warehouse, seed):
    config = STREAMS[seed % len(STREAMS)]
    events = ORACLE.Generator(seed, 300).run()
    shuffled = random.sample(events, len(events))
    expected = ORACLE.solve(
        events,
        config.get("blocked", False),
        config.get("hub_limit"),
        tuple(config.get("trait_identifiers", ())),
    )["clusters"]
    traits = "traits_null_clears" if config.get("null_clears") else "traits"
    graph = Graph(warehouse, config)

    graph.load(events, chunk_size=60)
    _assert_as_expected(graph, expected, traits)
    graph.load(shuffled, chunk_size=1000)
    _assert_as_expected(graph, expected, traits)

    fresh = Graph(warehouse, config)
    fresh.load(shuffled, chunk_size=17)
    _assert_as_expected(fresh, expected, traits)
