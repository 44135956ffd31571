"""A destination with sources and operators, for tests through event log, load and SQL."""

from __future__ import annotations

from django.apps import apps

from destinations.models import IdentityChange
from destinations.postgres.identity import graph_schema
from destinations.postgres.operations import erase, unmerge
from destinations.registry import destination_type
from destinations.warehouse.identity.statements import GraphOptions, Identifier, node_key
from events.loads.run import run_load
from events.log import writer
from events.people import changes, store
from events.people import erasure as people_erasure
from tests.support.events import NOW, parsed_event
from tests.support.factories import make_connection, make_destination, make_source
from tests.support.identity_graph import Graph
from tests.support.warehouse import address

SCHEMA = "rudder_identity"


class Hub(Graph):
    """One destination with a source for each name; load() takes events through log and loads."""

    def __init__(self, warehouse, warehouse_url, config=None, schema=SCHEMA, namespace=""):
        config = config or {}
        address_, secrets = address(warehouse_url)
        traits = ", ".join(config.get("trait_identifiers", ()))
        self.destination = make_destination(
            {
                **address_,
                "identity_schema": schema,
                "namespace": namespace,
                "trait_identifiers": traits,
            },
            secrets,
        )
        self.conn, self.schema, self.connections = warehouse, schema, {}
        options = GraphOptions(
            hub_limit=config.get("hub_limit"),
            size_limit=config.get("size_limit"),
            null_clears=config.get("null_clears", False),
        )
        graph_schema.ensure_schema(warehouse, schema, self.destination.public_id, options)
        if not config.get("blocked"):
            self.rows("DELETE FROM {schema}.identity_rule_list RETURNING 1")
        self.salt = self.rows("SELECT salt FROM {schema}.identity_meta")[0][0]

    def connection(self, source):
        if source not in self.connections:
            self.connections[source] = make_connection(make_source(name=source), self.destination)
        return self.connections[source]

    def append(self, *events):
        for event in events:
            connection = self.connection(event.get("source", "web"))
            writer.append(connection.source_id, NOW, [parsed_event(event)], timeout_seconds=60)

    def run_loads(self):
        for connection in self.connections.values():
            run_load(connection)

    def run_upkeep(self):
        """Do the upkeep of the minutely task."""
        kind = destination_type(self.destination.type)
        kind.upkeep(self.destination.config, self.destination.secrets)

    def load(self, *events):
        self.append(*events)
        self.run_loads()

    def play(self, given):
        """Load events and run the operators' actions between them, in the given order."""
        waiting = []
        for line in given:
            if line["type"] != "op":
                waiting.append(line)
                continue
            self.load(*waiting)
            waiting = []
            self.operate(line)
        self.load(*waiting)

    def operate(self, op):
        with store.connect(self.destination) as identities:
            if op["op"] == "unlink":
                pair = (Identifier(*op["a"]), Identifier(*op["b"]))
                with identities.operation("ann") as operation:
                    unmerge.unmerge_links(operation, [pair])
                return
            identifiers = [Identifier(*op["id"])]
            if op["op"] == "erase_profile":
                identifiers = erase.profile_identifiers(
                    identities.conn, identities.schema, op["id"][1], op["id"][0]
                )
            erasure = people_erasure.request(self.destination, identities, identifiers, actor="ann")
        people_erasure.run(erasure)

    def row_ids_by_profile(self, table="web.tracks_resolved"):
        """Row ids of a resolved view by profile."""
        row_ids = {}
        for rudder_id, row_id in self.conn.execute(
            f"SELECT rudder_id, id FROM {table} ORDER BY id"  # noqa: S608 - a test's own name
        ):
            row_ids.setdefault(rudder_id, []).append(row_id)
        return row_ids

    def key(self, identifier):
        return node_key(self.salt, identifier)


def everything_stored(hub):
    """Everything that the instance and its warehouse store, as one text."""
    texts = [_text(row) for model in apps.get_models() for row in model.objects.values_list()]
    tables = hub.conn.execute(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    ).fetchall()
    for (table,) in tables:
        texts += [_text(row) for row in hub.conn.execute(f"SELECT * FROM {table}")]  # noqa: S608
    return "\n".join(texts)


def _text(row):
    return str([bytes(value) if isinstance(value, memoryview) else value for value in row])


def advance_changes():
    """Advance all waiting identity changes, as workers do."""
    for pk in IdentityChange.objects.awaiting_worker().values_list("pk", flat=True):
        changes.advance(pk)


def run_erasures():
    """Run all waiting erasures, as workers do."""
    for erasure in people_erasure.unfinished_erasures():
        people_erasure.run(erasure)
