from __future__ import annotations

from destinations.postgres.catalogue import CatalogTable, tables


def test_tables_of_the_schemas_have_their_columns_in_order_with_plain_types(warehouse):
    warehouse.execute(
        """
        CREATE SCHEMA one;
        CREATE SCHEMA two;
        CREATE DOMAIN one.short AS varchar(9);
        CREATE TYPE one.color AS ENUM ('red');
        CREATE TABLE one.b (z text, y varchar(5), x jsonb, w numeric(9, 2), v one.short);
        ALTER TABLE one.b DROP COLUMN y, ADD COLUMN a timestamptz;
        CREATE TABLE one.a (id text, color one.color) PARTITION BY HASH (id);
        CREATE VIEW one.v AS SELECT 1 AS id;
        CREATE TABLE two.a (tags text[]);
        CREATE TABLE public.a (id text);
        """
    )

    found = tables(warehouse, ["two", "one", "none"])

    assert [(table.label, list(table.columns.items())) for table in found] == [
        ("one.a", [("id", "text"), ("color", "one.color")]),
        (
            "one.b",
            [
                ("z", "text"),
                ("x", "jsonb"),
                ("w", "numeric"),
                ("v", "character varying"),
                ("a", "timestamp with time zone"),
            ],
        ),
        ("two.a", [("tags", "text[]")]),
    ]
    assert tables(warehouse, ["one", "two"], ["a"]) == [found[0], found[2]]
    assert tables(warehouse, ["two"], []) == []
    assert found[2] == CatalogTable("two", "a", {"tags": "text[]"})
