"""Statements and array parameters for the identity tables."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from psycopg import sql as pgsql
from psycopg.sql import SQL, Composed

GROUPS_OF_ROOTS = """
FROM unnest(%b::bigint[]) k (root_id)
CROSS JOIN LATERAL (
    SELECT k.root_id AS comp_id
    UNION
    SELECT comp_id FROM {schema}.identity_component WHERE root_id = k.root_id OFFSET 0
) c
"""


MEMBERS_OF_ROOTS = """
{groups_of_roots}
CROSS JOIN LATERAL (
    SELECT * FROM {schema}.identity_node WHERE comp_id = c.comp_id OFFSET 0
) n
"""


@lru_cache(maxsize=512)
def query(schema: str, text: str) -> Composed:
    """The statement for a schema.

    {schema} is its only identifier. {groups_of_roots} and {members_of_roots} are replaced by a FROM
    for an array of roots: k, with the groups c and the identifiers n of their profiles.
    """
    names = {"schema": pgsql.Identifier(schema)}
    groups = SQL(GROUPS_OF_ROOTS).format(**names)
    members = SQL(MEMBERS_OF_ROOTS).format(**names, groups_of_roots=groups)
    return SQL(text).format(**names, groups_of_roots=groups, members_of_roots=members)


def columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """The columns of rows, at least one, as arrays for unnest()."""
    return [list(column) for column in zip(*rows, strict=True)]
