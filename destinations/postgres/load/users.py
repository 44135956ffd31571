"""The users table of a chunk: completed by identifies that came in order, else recomputed."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from destinations.postgres.connection import Conn
from destinations.postgres.load import sql
from destinations.postgres.load.tables import GENERATED, Namespace
from destinations.postgres.load.writer import Values, Writer, WrittenRows
from destinations.warehouse.rows.schema import Fitter
from destinations.warehouse.rows.transform import Row
from destinations.warehouse.rows.users import OLDEST_COLUMN, User, latest_users, user_columns

NOT_MERGED = frozenset({"id", "user_id", "uuid_ts"})


def write_users(
    conn: Conn,
    schema: str,
    namespace: Namespace,
    writer: Writer,
    identifies: WrittenRows,
    makes_user: Container[str],
) -> WrittenRows:
    """Bring users up to date with what has become of the chunk's identifies.

    `makes_user` has the ids of the identifies that are to make users rows. Those that were there
    already change nothing; where one was replaced, its users are computed anew.
    """
    fresh = identifies.fresh or set()
    rows = [values for values in identifies.values if values["id"] in makes_user]
    changed = {
        user
        for values in rows
        if values["id"] in identifies.replaced
        for user in (values.get("user_id"), identifies.replaced[values["id"]])
        if user is not None
    }
    users = latest_users(values for values in rows if values["id"] in fresh)
    for user in changed:
        users.pop(user, None)
    update = _Update(conn, schema, namespace)
    written = update.write(users, writer)
    update.recompute(changed)
    written.count += len(changed)
    return written


def refill_users(conn: Conn, schema: str, namespace: Namespace, users: Iterable[str]) -> None:
    """Set users to what their identifies say, since these have changed; in a transaction."""
    _Update(conn, schema, namespace).refill(users)


class _Update:
    def __init__(self, conn: Conn, schema: str, namespace: Namespace) -> None:
        self._conn = conn
        self._schema = schema
        self._namespace = namespace

    def write(self, users: Mapping[str, User], writer: Writer) -> WrittenRows:
        written = WrittenRows(count=len(users))
        if not users:
            return written
        types = user_columns(self._namespace.columns("identifies"))
        fitter = Fitter(self._namespace.columns("users"))
        oldest = []
        for user in users.values():
            values, discards = fitter.fit(Row("users", types, user.values))
            written.values.append(values)
            written.discards += discards
            oldest.append({**values, OLDEST_COLUMN: user.oldest})
        columns = writer.columns_of(written.values, "users")
        staging = self._stage(columns, oldest)
        inserted = self._conn.execute(sql.insert_users(staging, self._schema, columns))
        new = [user_id for (user_id,) in inserted]
        self._add_earlier(new, writer)
        if known := sorted(users.keys() - set(new)):
            self._complete(staging, columns, known)
        return written

    def _stage(self, columns: Sequence[str], rows: Sequence[Values]) -> str:
        staging = "staging_users"
        self._conn.execute(sql.create_users_staging(staging, self._schema, columns))
        all_columns = [*columns, OLDEST_COLUMN]
        with self._conn.cursor().copy(sql.copy_staging(staging, all_columns)) as copy:
            for values in rows:
                copy.write_row(list(map(values.get, all_columns)))
        return staging

    def _add_earlier(self, new: Sequence[str], writer: Writer) -> None:
        """New users may have identifies that were loaded without making users."""
        found = self._conn.execute(sql.identified_before(self._schema), [new, writer.loaded_at])
        if earlier := sorted(user_id for (user_id,) in found):
            self._recompute(earlier, fill=True)

    def _complete(self, staging: str, columns: Sequence[str], known: Sequence[str]) -> None:
        """A user with an identify at or before the stored one's time is recomputed."""
        self._conn.execute(sql.lock_users(self._schema), [known])
        in_order = self._conn.execute(sql.complete_users(staging, self._schema, columns))
        late = set(known) - {user_id for (user_id,) in in_order}
        if late:
            self._recompute(sorted(late), fill=True)

    def recompute(self, users: Iterable[str]) -> None:
        ids = sorted(users)
        if not ids or not self._namespace.has("users"):
            return
        self._conn.execute(sql.add_bare_users(self._schema), [ids])
        self._conn.execute(sql.lock_users(self._schema), [ids])
        self._recompute(ids, fill=False)
        self._conn.execute(sql.drop_users_of_nobody(self._schema), [ids])

    def refill(self, users: Iterable[str]) -> None:
        if ids := sorted(users):
            self._conn.execute(sql.lock_users(self._schema), [ids])
            self._recompute(ids, fill=True)

    def _recompute(self, ids: Sequence[str], *, fill: bool) -> None:
        """Columns that somebody gave another type than that of identifies keep their values."""
        source, target = self._namespace.columns("identifies"), self._namespace.columns("users")
        columns = [
            name
            for name, kind in source.items()
            if name not in NOT_MERGED
            and kind != GENERATED
            and target.get(name) in _TAKEN_BY.get(kind, (kind,))
        ]
        self._conn.execute(sql.recompute_users(self._schema, columns, fill=fill), [ids])


_TAKEN_BY = {"int": ("int", "float")}
