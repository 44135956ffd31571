"""An identity graph for tests, and events that state identities."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from psycopg import sql as pgsql
from psycopg.sql import SQL

from destinations.postgres.identity import graph_schema, resolve
from destinations.postgres.operations.operation import begin_operation
from destinations.warehouse.identity.block_list import DEFAULT_RULES, BlockList
from destinations.warehouse.identity.statements import (
    GraphOptions,
    Identifier,
    MalformedMergeError,
    Rules,
    node_key,
    statement,
)

CASES = Path(__file__).parents[1] / "cases"
SCHEMA = 'the "identities"'


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


def anonymous(value):
    return Identifier("anonymous_id", value)


def user(value):
    return Identifier("user_id", value)


class Graph:
    """A fresh identity schema that takes events as the loader gives them.

    config is a scenario's: a guard that it does not name is off.
    """

    def __init__(self, warehouse, config=None, schema=SCHEMA):
        config = config or {}
        traits = tuple(config.get("trait_identifiers", ()))
        options = GraphOptions(
            hub_limit=config.get("hub_limit"),
            size_limit=config.get("size_limit"),
            trait_identifiers=traits,
            null_clears=config.get("null_clears", False),
        )
        self.rules = Rules(BlockList(DEFAULT_RULES if config.get("blocked") else ()), traits)
        self.conn, self.schema = warehouse, schema
        warehouse.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(pgsql.Identifier(schema)))
        graph_schema.ensure_schema(warehouse, schema, "one", options)
        self.salt = self.rows("SELECT salt FROM {schema}.identity_meta")[0][0]

    def load(self, *events, chunk_size=1, conn=None):
        """Returns the profile by primary identifier of the last chunk."""
        statements = [stated for event in events for stated in self.statements(event)]
        resolved = {}
        for start in range(0, len(statements), chunk_size):
            chunk = statements[start : start + chunk_size]
            with graph_schema.operator_lock_shared(conn or self.conn, self.schema):
                resolved = resolve.resolve_statements(conn or self.conn, self.schema, chunk)
        return resolved

    def operation(self, namespaces=(), *, actor="ann", dry_run=False):
        return begin_operation(self.conn, self.schema, namespaces, actor=actor, dry_run=dry_run)

    def statements(self, event):
        try:
            stated = statement(event, event.get("source", "web"), self.rules)
        except MalformedMergeError:
            return []
        return [stated] if stated else []

    def rows(self, text, parameters=None):
        query = SQL(text).format(schema=pgsql.Identifier(self.schema))
        return self.conn.execute(query, parameters).fetchall()

    def key(self, identifier):
        return node_key(self.salt, identifier)

    def profile(self, value):
        """The id of the one profile that the SQL function finds."""
        rows = self.rows("SELECT rudder_id FROM {schema}.rudder_profile(%s)", [value])
        assert len(rows) == 1, rows
        return rows[0][0]

    def clusters(self):
        """Id, user id and traits of each profile by its identifiers."""
        members = {}
        for kind, value, rudder_id in self.rows(
            "SELECT merge_property_type, merge_property_value, rudder_id"
            " FROM {schema}.rudder_identity_mappings"
        ):
            members.setdefault(rudder_id, []).append((kind, value))
        profiles = self.rows(
            "SELECT rudder_id, user_id, traits, identifier_count FROM {schema}.rudder_profiles"
        )
        assert {row[0] for row in profiles} == set(members)
        assert all(row[3] == len(members[row[0]]) for row in profiles)
        return {tuple(sorted(members[row[0]])): row[:3] for row in profiles}

    def expected(self, profiles, traits="traits"):
        """The clusters that a scenario or the oracle expects, as clusters() returns them."""
        return {
            tuple(sorted(map(tuple, profile["ids"]))): (
                min(self.key(Identifier(*anchor)) for anchor in profile["anchors"]),
                profile["user_id"],
                profile[traits],
            )
            for profile in profiles
        }
