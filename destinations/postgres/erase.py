"""Erase identifiers: from the graph, from event rows, and from all that loads later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from psycopg.sql import SQL, Composed, Literal
from psycopg.sql import Identifier as Name

from destinations.interface import DestinationError
from destinations.postgres.graph import columns, query
from destinations.postgres.operations import Conn, Operation, Outcome, operation
from destinations.postgres.split import published
from destinations.postgres.views import resolved_namespaces
from destinations.warehouse.erasure import BLANK, DELETE, KEPT_COLUMNS, Erased
from destinations.warehouse.identity import Identifier, clean
from destinations.warehouse.jsontext import json_text

SUPPRESS = """
INSERT INTO {schema}.identity_suppressed (node_key, mode, reason)
SELECT node_key, %b, %b
FROM unnest(%b::uuid[]) k (node_key)
ON CONFLICT (node_key) DO UPDATE SET mode = excluded.mode
"""

MEMBERS = """
SELECT n.id_type, n.id_value
FROM (SELECT comp_id FROM {schema}.identity_find(%s, %s) LIMIT 1) found
CROSS JOIN LATERAL {schema}.identity_members(found.comp_id) m (node_id)
JOIN {schema}.identity_node n ON n.node_id = m.node_id
ORDER BY 1, 2
"""

GONE_WITH_NODE = {
    "identity_node": "DELETE FROM {schema}.identity_node WHERE node_id = ANY (%b::bigint[])",
    "identity_trait": "DELETE FROM {schema}.identity_trait WHERE node_id = ANY (%b::bigint[])",
    "identity_activity": """
        DELETE FROM {schema}.identity_activity WHERE node_id = ANY (%b::bigint[])
    """,
    "identity_hub": "DELETE FROM {schema}.identity_hub WHERE node_id = ANY (%b::bigint[])",
    "identity_blocked": "DELETE FROM {schema}.identity_blocked WHERE node_id = ANY (%b::bigint[])",
    "identity_account_member": """
        DELETE FROM {schema}.identity_account_member WHERE node_id = ANY (%b::bigint[])
    """,
}

DELETE_LINKS = """
DELETE FROM {schema}.identity_edge e
USING unnest(%b::bigint[], %b::bigint[]) k (node_a, node_b)
WHERE e.node_a = k.node_a AND e.node_b = k.node_b
"""

DELETE_KEYS = {
    "identity_alias": "DELETE FROM {schema}.identity_alias WHERE old_rudder_id = ANY (%b::uuid[])",
    "identity_tombstone": """
        DELETE FROM {schema}.identity_tombstone
        WHERE key_a = ANY (%b::uuid[]) OR key_b = ANY (%b::uuid[])
    """,
    "rudder_profiles": "DELETE FROM {schema}.rudder_profiles WHERE rudder_id = ANY (%b::uuid[])",
}

DELETE_RULES = """
DELETE FROM {schema}.identity_rule_list l
WHERE l.actor <> 'default' AND NOT EXISTS (
    SELECT FROM {schema}.identity_blocked b
    WHERE b.rule_id = l.id AND b.node_id <> ALL (%b::bigint[])
) AND EXISTS (
    SELECT FROM unnest(%b::text[], %b::text[]) k (id_type, id_value)
    WHERE l.exact = k.id_value AND (l.id_type IS NULL OR l.id_type = k.id_type)
)
"""
"""Rules that name an erased value, unless they hide another identifier of that value, too."""

DELETE_ACCOUNTS = {
    "identity_account_member": """
        DELETE FROM {schema}.identity_account_member WHERE account_key = ANY (%b::uuid[])
    """,
    "identity_account": """
        DELETE FROM {schema}.identity_account WHERE account_key = ANY (%b::uuid[])
    """,
}

ACCOUNTS = """
SELECT DISTINCT a.account_key, a.group_id, a.traits::text
FROM unnest(%b::bigint[]) k (node_id)
CROSS JOIN LATERAL (
    SELECT account_key FROM {schema}.identity_account_member WHERE node_id = k.node_id OFFSET 0
) m
CROSS JOIN LATERAL (
    SELECT * FROM {schema}.identity_account WHERE account_key = m.account_key OFFSET 0
) a
"""

SET_ACCOUNT_TRAITS = """
UPDATE {schema}.identity_account a
SET traits = k.traits::jsonb
FROM unnest(%b::uuid[], %b::text[]) k (account_key, traits)
WHERE a.account_key = k.account_key
"""

COLUMNS = """
SELECT c.table_schema, c.table_name, c.column_name, c.data_type
FROM information_schema.columns c
JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = ANY (%s) AND t.table_type = 'BASE TABLE'
ORDER BY 1, 2, c.ordinal_position
"""

OWN_ROWS = """
SELECT t.id::text
FROM {table} t
WHERE {reach} AND (
    t.user_id::text = ANY (%(users)s)
    OR (
        t.anonymous_id::text = ANY (%(devices)s) AND NOT EXISTS (
            SELECT
            FROM {schema}.identity_node n
            WHERE n.node_key = {schema}.identity_key('user_id', t.user_id::text)
                AND NOT EXISTS (
                    SELECT FROM {schema}.identity_blocked b WHERE b.node_id = n.node_id
                )
        )
    )
)
"""

ID_COLUMNS = ("user_id", "previous_id", "anonymous_id")

REACH = "(t.rudder_profile_id = ANY (%(stamps)s) OR t.rudder_profile_id IS NULL)"


@dataclass(frozen=True)
class Erasure:
    """What was erased, counted by table, and what became of the profiles concerned."""

    keys: list[UUID]
    counts: dict[str, int]
    outcome: Outcome


@dataclass(frozen=True)
class _Table:
    schema: str
    name: str
    columns: dict[str, str]

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> Name:
        return Name(self.schema, self.name)


def members(conn: Conn, schema: str, value: str, id_type: str | None = None) -> list[Identifier]:
    """All identifiers of the profile that has this one, or this id; DestinationError if none."""
    rows = conn.execute(query(schema, MEMBERS), [value, id_type]).fetchall()
    if not rows:
        raise DestinationError("no profile has this identifier or id")
    return [Identifier(*row) for row in rows]


def check(identifiers: Collection[Identifier], mode: str) -> None:
    """DestinationError for what cannot be erased."""
    if mode not in (DELETE, BLANK):
        raise DestinationError(f"mode is {mode!r}, expected {DELETE!r} or {BLANK!r}")
    if not identifiers or any(clean(each.value) is None for each in identifiers):
        raise DestinationError("an identifier to erase has no visible character")


def erase(
    conn: Conn,
    schema: str,
    namespaces: Sequence[str],
    identifiers: Collection[Identifier],
    *,
    mode: str = DELETE,
    actor: str,
    reason: str = "",
    dry_run: bool = False,
    before_commit: Callable[[Erasure], None] | None = None,
) -> Erasure:
    """Erase these identifiers and suppress them for good, also those that no event has stated.

    Rows whose primary identifier is erased are deleted, or with mode blank emptied; in other rows
    the values become null. It may run again after a crash; before_commit keeps the counts, which
    are lower then.
    """
    check(identifiers, mode)
    every = sorted({*namespaces, *resolved_namespaces(conn, schema)})
    with operation(conn, schema, every, actor=actor, dry_run=dry_run) as op:
        done = _Erasing(op, Erased(dict.fromkeys(identifiers, mode)), mode).run(reason)
        if before_commit:
            before_commit(done)
        return done


class _Erasing:
    def __init__(self, op: Operation, erased: Erased, mode: str) -> None:
        self._op = op
        self._erased = erased
        self._mode = mode
        self._keys = [op.key(identifier) for identifier in erased.modes]
        self._counts: Counter[str] = Counter()

    def run(self, reason: str) -> Erasure:
        op, graph = self._op, self._op.graph
        graph.run(SUPPRESS, self._mode, reason, self._keys)
        stored = op.stored(self._erased.modes)
        numbers = [each.node_id for each in stored.values()]
        links = op.links_of(numbers) if numbers else set()
        neighbours = {end for a, b, _ in links for end in (a, b)} - set(numbers)
        roots = {each.root_id for each in stored.values()}
        reached = roots | set(op.roots_of(neighbours).values())
        stamps = [*self._keys, *(each.rudder_id for each in published(graph, reached))]
        with op.any_plan():
            self._erase_rows(stamps, is_known=len(stored) == len(self._keys))
            self._erase_accounts(numbers)
            self._erase_rules(numbers)
        self._erase_graph(numbers, links)
        outcome = op.reevaluate(roots, neighbours, stamps=self._keys)
        return Erasure(self._keys, {k: n for k, n in sorted(self._counts.items()) if n}, outcome)

    def _erase_accounts(self, node_ids: Sequence[int]) -> None:
        """Accounts named after an erased value; erased values in the traits of other accounts."""
        graph, gone, changed = self._op.graph, [], {}
        for key, group_id, text in graph.run(ACCOUNTS, list(node_ids)).fetchall():
            facts = orjson.loads(text)
            if group_id in self._erased.values:
                gone.append(key)
            elif (cleared := self._erased.cleared_facts(facts)) != facts:
                changed[key] = json_text(cleared)
        for table, statement in DELETE_ACCOUNTS.items():
            self._counts[table] += graph.run(statement, gone).rowcount
        graph.run(SET_ACCOUNT_TRAITS, list(changed), list(changed.values()))
        self._counts["identity_account (values)"] = len(changed)

    def _erase_rules(self, numbers: Sequence[int]) -> None:
        named = columns(list(self._erased.modes))
        self._counts["identity_rule_list"] = self._op.graph.run(
            DELETE_RULES, list(numbers), *named
        ).rowcount

    def _erase_graph(self, numbers: Sequence[int], links: Collection[tuple[int, int, str]]) -> None:
        graph = self._op.graph
        ends = [(a, b) for a, b, _ in links] + [(number, number) for number in numbers]
        if ends:
            arrays = [[a for a, _ in ends], [b for _, b in ends]]
            self._counts["identity_edge"] = graph.run(DELETE_LINKS, *arrays).rowcount
        for table, text in GONE_WITH_NODE.items():
            self._counts[table] += graph.run(text, list(numbers)).rowcount
        for table, text in DELETE_KEYS.items():
            keys = [self._keys] * text.count("%b")
            self._counts[table] = graph.run(text, *keys).rowcount

    def _erase_rows(self, stamps: Sequence[UUID], *, is_known: bool) -> None:
        """Rows of other people are told by their stamps, unless a value is no stored identifier."""
        tables = self._tables()
        gone: dict[str, dict[str, list[str]]] = {}
        for table in tables:
            dropped = gone.setdefault(table.schema, {})
            if table.columns.keys() >= {"rudder_profile_id", "user_id", "anonymous_id", "id"}:
                dropped[table.name] = self._own_rows(table, stamps)
                self._drop_rows(table, dropped[table.name])
            if table.name == "users":
                dropped[table.name] = self._erased.users
                self._drop_users(table)
            if "rudder_profile_id" in table.columns:
                self._clear_values(table, self._tests(table, table.columns), stamps)
                if not is_known or table.name == "aliases":
                    self._clear_values(table, self._tests(table, ID_COLUMNS), None)
        for table in tables:
            if table.name == "rudder_discards":
                self._drop_discards(table, gone.get(table.schema, {}))

    def _tables(self) -> list[_Table]:
        found: dict[tuple[str, str], dict[str, str]] = {}
        rows = self._op.graph.conn.execute(COLUMNS, [list(self._op.namespaces)])
        for schema, table, column, kind in rows:
            found.setdefault((schema, table), {})[column] = kind
        return [_Table(*names, columns) for names, columns in found.items()]

    def _own_rows(self, table: _Table, stamps: Sequence[UUID]) -> list[str]:
        """The ids of the rows whose primary identifier is erased."""
        text = SQL(OWN_ROWS).format(
            table=table.sql, reach=SQL(REACH), schema=Name(self._op.graph.schema)
        )
        values = {
            "users": self._erased.users,
            "devices": self._erased.devices,
            "stamps": list(stamps),
        }
        return [row[0] for row in self._op.graph.conn.execute(text, values)]

    def _drop_rows(self, table: _Table, ids: Sequence[str]) -> None:
        if not ids:
            return
        if self._mode == DELETE:
            text = SQL("DELETE FROM {} WHERE id::text = ANY (%s)").format(table.sql)
        else:
            emptied = [name for name in table.columns if name not in KEPT_COLUMNS]
            text = SQL("UPDATE {} SET {} WHERE id::text = ANY (%s)").format(
                table.sql, SQL(", ").join(SQL("{} = NULL").format(Name(n)) for n in emptied)
            )
        self._counts[table.label] += self._run(text, [list(ids)])

    def _drop_users(self, table: _Table) -> None:
        text = SQL("DELETE FROM {} WHERE id::text = ANY (%s)").format(table.sql)
        self._counts[table.label] += self._run(text, [self._erased.users])

    def _clear_values(
        self, table: _Table, held: Mapping[str, Composed], stamps: Sequence[UUID] | None
    ) -> None:
        """Erased values in rows that stay: those under the stamps, or all."""
        if not held:
            return
        text = SQL("UPDATE {} t SET {} WHERE {} AND ({})").format(
            table.sql,
            SQL(", ").join(
                SQL("{0} = CASE WHEN {1} THEN NULL ELSE t.{0} END").format(Name(name), test)
                for name, test in held.items()
            ),
            SQL("true" if stamps is None else REACH),
            SQL(" OR ").join(held.values()),
        )
        count = self._run(text, {"stamps": list(stamps or ())})
        self._counts[f"{table.label} (values)"] += count

    def _tests(self, table: _Table, names: Iterable[str]) -> dict[str, Composed]:
        """For each column that may hold an erased value, the condition that it does."""
        tests = {}
        for name in names:
            kind = table.columns.get(name)
            if name in KEPT_COLUMNS or kind not in {"text", "character varying", "jsonb"}:
                continue
            column = SQL("t.{}").format(Name(name))
            if kind == "jsonb":
                quoted = self._erased.quoted()
                hits = (SQL("strpos({}::text, {}) > 0").format(column, Literal(q)) for q in quoted)
                tests[name] = SQL("coalesce({}, false)").format(SQL(" OR ").join(hits))
            elif values := self._erased.values_in(name):
                array = Literal(list(values))
                tests[name] = SQL("coalesce({} = ANY ({}::text[]), false)").format(column, array)
        return tests

    def _drop_discards(self, table: _Table, gone: dict[str, list[str]]) -> None:
        text = SQL(
            """
            DELETE FROM {} d
            WHERE d.column_value = ANY (%s) OR EXISTS (
                SELECT FROM unnest(%s::text[], %s::text[]) k (table_name, row_id)
                WHERE k.table_name = d.table_name AND k.row_id = d.row_id
            )
            """
        ).format(table.sql)
        pairs = [(name, row_id) for name, ids in gone.items() for row_id in ids]
        names, ids = [name for name, _ in pairs], [row_id for _, row_id in pairs]
        self._counts[table.label] += self._run(text, [self._erased.values, names, ids])

    def _run(self, text: Composed, values: Any) -> int:
        return self._op.graph.conn.execute(text, values).rowcount
