"""Checks the stored graph against its links, and replaces it with the graph they give."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from destinations.postgres.connection import Conn
from destinations.postgres.identity import graph_schema, profile_rows
from destinations.postgres.identity.graph_store import Graph
from destinations.postgres.identity.query import columns
from destinations.postgres.identity.recompute import MOVE_NODES
from destinations.postgres.operations.graph_comparison import (
    BATCH,
    Difference,
    GraphComparison,
    batches,
    compare_profile_rows,
)
from destinations.postgres.operations.guards import DELETE_BLOCKED, UPSERT_BLOCKED
from destinations.postgres.operations.operation import DELETE_HUBS, UPSERT_HUBS
from destinations.warehouse.identity.full_partition import Partition
from destinations.warehouse.identity.union import Anchor, Group

WRITTEN_AT_ONCE = 50_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def graph_differences(conn: Conn, schema: str) -> list[Difference]:
    """The differences between the stored graph and its links, in one snapshot."""
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        graph = Graph(conn, schema)
        meta = graph_schema.read_meta(conn, schema, any_isolation=True)
        rules = graph_schema.read_rules(conn, schema, any_isolation=True)
        plan = GraphComparison(graph, meta, rules).compare()
        if not plan.differences:
            compare_profile_rows(graph, meta.options.null_clears, plan)
    return plan.differences


def rebuild_graph(conn: Conn, schema: str) -> list[Difference]:
    """Replace the stored graph with the computed one in one transaction; returns the differences.

    Ids are functions of the links, so they stay the same. Correct rows are not written.
    """
    meta = graph_schema.read_meta(conn, schema)
    with graph_schema.operator_lock(conn, schema), conn.transaction():
        graph_schema.lock_graph(conn, meta.oid, any_plan=True)
        graph = Graph(conn, schema)
        comparison = GraphComparison(graph, meta, graph_schema.read_rules(conn, schema))
        plan = comparison.compare()
        _apply_changes(graph, comparison)
        compare_profile_rows(graph, meta.options.null_clears, plan)
        graph.run(profile_rows.DELETE_PROFILES, plan.profiles_to_delete)
        for batch in batches(plan.roots, BATCH):
            rows = profile_rows.stored_rows(graph, batch, meta.options.null_clears)
            profile_rows.write_rows(graph, list(rows))
    return plan.differences


def _apply_changes(graph: Graph, comparison: GraphComparison) -> None:
    plan = comparison.plan
    graph.run(DELETE_BLOCKED, plan.blocked_to_delete)
    graph.run(DELETE_HUBS, plan.hubs_to_delete)
    graph.run(UPSERT_BLOCKED, list(plan.hide), list(plan.hide.values()))
    graph.run(UPSERT_HUBS, list(plan.hubs), list(plan.hubs.values()))
    if not plan.has_wrong_groups:
        return
    graph.run("DELETE FROM {schema}.identity_component")
    graph.run("DELETE FROM {schema}.identity_alias")
    for moved in batches(_moved_nodes(comparison), WRITTEN_AT_ONCE):
        graph.run(MOVE_NODES, *columns(moved))
    for groups in batches(_new_groups(comparison.partition), WRITTEN_AT_ONCE):
        graph.write_groups(groups)
    for aliases in batches(plan.aliases, WRITTEN_AT_ONCE):
        graph.write_aliases(aliases)


def _moved_nodes(comparison: GraphComparison) -> Iterator[tuple[int, int]]:
    partition = comparison.partition
    for place, comp_id in enumerate(comparison.comp_ids):
        number = partition.group_number(partition.top(place))
        if number != comp_id:
            yield partition.numbers[place], number


def _new_groups(partition: Partition) -> Iterator[Group]:
    for top in partition.tops():
        size = partition.size(top)
        if size > 1:
            age, key = partition.anchor(top)
            at, rudder_id = EPOCH + timedelta(microseconds=age), UUID(bytes=key)
            number = partition.group_number(top)
            yield Group(number, Anchor(at, rudder_id), size, 1, rudder_id, has_row=True)
