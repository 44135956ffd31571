"""Updates users from identifies: those in order complete a user, others cause a recomputation."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from destinations.postgres.connection import Conn
from destinations.postgres.load import row_sql, user_sql
from destinations.postgres.load.tables import GENERATED, Namespace
from destinations.postgres.load.writer import Writer, WrittenRows
from destinations.warehouse.rows.schema import RowFitter
from destinations.warehouse.rows.transform import Row
from destinations.warehouse.rows.users import OLDEST_COLUMN, User, latest_users, user_columns

NOT_MERGED = frozenset({"id", "user_id", "uuid_ts"})


def write_users(
    conn: Conn,
    namespace: Namespace,
    writer: Writer,
    identifies: WrittenRows,
    user_rows: Container[str],
) -> WrittenRows:
    """Update users from a chunk's written identifies.

    `user_rows` are the ids of the identifies that create users rows. Identifies that were stored
    already change nothing. If an identify was replaced, its old and new user are recomputed.
    """
    new_ids = identifies.new_ids or set()
    rows = [values for values in identifies.values if values["id"] in user_rows]
    changed = {
        user
        for values in rows
        if values["id"] in identifies.replaced
        for user in (values.get("user_id"), identifies.replaced[values["id"]])
        if user is not None
    }
    users = latest_users(values for values in rows if values["id"] in new_ids)
    for user in changed:
        users.pop(user, None)
    update = _UsersUpdate(conn, namespace)
    written = update.write(users, writer)
    update.recompute(changed)
    written.count += len(changed)
    return written


def refill_users(conn: Conn, namespace: Namespace, users: Iterable[str]) -> None:
    """Recompute users after a change of their identifies; call it inside a transaction."""
    _UsersUpdate(conn, namespace).refill(users)


class _UsersUpdate:
    def __init__(self, conn: Conn, namespace: Namespace) -> None:
        self._conn = conn
        self._schema = namespace.schema
        self._namespace = namespace

    def write(self, users: Mapping[str, User], writer: Writer) -> WrittenRows:
        written = WrittenRows(count=len(users))
        if not users:
            return written
        types = user_columns(self._namespace.columns("identifies"))
        fitter = RowFitter(self._namespace.columns("users"))
        oldest = []
        for user in users.values():
            values, discards = fitter.fit(Row("users", types, user.values))
            written.values.append(values)
            written.discards += discards
            oldest.append({**values, OLDEST_COLUMN: user.oldest})
        columns = writer.used_columns(written.values, "users")
        staging = writer.stage("users", [*columns, OLDEST_COLUMN], oldest)
        inserted = self._conn.execute(
            row_sql.insert_staged(staging, self._schema, "users", columns)
        )
        new = [user_id for (user_id,) in inserted]
        self._fill_from_earlier_identifies(new, writer)
        if stored := sorted(users.keys() - set(new)):
            self._complete_users(staging, columns, stored)
        return written

    def _fill_from_earlier_identifies(self, new: Sequence[str], writer: Writer) -> None:
        """New users may have identifies that were loaded without a users row."""
        rows = self._conn.execute(
            user_sql.users_identified_before(self._schema), [new, writer.loaded_at]
        )
        if earlier := sorted(user_id for (user_id,) in rows):
            self._recompute(earlier, fill=True)

    def _complete_users(self, staging: str, columns: Sequence[str], stored: Sequence[str]) -> None:
        """Recompute the users with an identify that is not later than the stored user."""
        self._conn.execute(user_sql.lock_users(self._schema), [stored])
        in_order = self._conn.execute(user_sql.complete_users(staging, self._schema, columns))
        late = set(stored) - {user_id for (user_id,) in in_order}
        if late:
            self._recompute(sorted(late), fill=True)

    def recompute(self, users: Iterable[str]) -> None:
        ids = sorted(users)
        if not ids or not self._namespace.has_table("users"):
            return
        self._conn.execute(user_sql.add_bare_users(self._schema), [ids])
        self._conn.execute(user_sql.lock_users(self._schema), [ids])
        self._recompute(ids, fill=False)
        self._conn.execute(user_sql.delete_users_without_identifies(self._schema), [ids])

    def refill(self, users: Iterable[str]) -> None:
        if ids := sorted(users):
            self._conn.execute(user_sql.lock_users(self._schema), [ids])
            self._recompute(ids, fill=True)

    def _recompute(self, ids: Sequence[str], *, fill: bool) -> None:
        """Recompute columns; one that has another type than in identifies keeps its values."""
        source, target = self._namespace.columns("identifies"), self._namespace.columns("users")
        columns = [
            name
            for name, kind in source.items()
            if name not in NOT_MERGED
            and kind != GENERATED
            and target.get(name) in _ACCEPTED_TYPES.get(kind, (kind,))
        ]
        self._conn.execute(user_sql.recompute_users(self._schema, columns, fill=fill), [ids])


_ACCEPTED_TYPES = {"int": ("int", "float")}
