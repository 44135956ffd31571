-- Why two identifiers are one profile, or are not. {schema} stands for the identity schema.

CREATE OR REPLACE FUNCTION {schema}.identity_key(id_type text, id_value text)
RETURNS uuid
LANGUAGE sql STABLE
AS $$
    SELECT encode(substring(sha256(
        m.salt || '\x1f' || convert_to(identity_key.id_type, 'UTF8')
        || '\x1f' || convert_to(identity_key.id_value, 'UTF8')
    ) FROM 1 FOR 16), 'hex')::uuid
    FROM {schema}.identity_meta m
$$;

-- The stored identifiers with this value, user_id first, then anonymous_id; an id of a profile, too.
CREATE OR REPLACE FUNCTION {schema}.identity_find(identifier text, id_type text DEFAULT NULL)
RETURNS SETOF {schema}.identity_node
LANGUAGE sql STABLE
AS $$
    SELECT n.*
    FROM (
        SELECT {schema}.identity_key(t.id_type, identity_find.identifier) AS key,
            CASE t.id_type WHEN 'user_id' THEN 0 WHEN 'anonymous_id' THEN 1 ELSE 2 END AS rank
        FROM {schema}.identity_meta m
        CROSS JOIN LATERAL unnest(
            CASE WHEN identity_find.id_type IS NULL THEN m.id_types
            ELSE ARRAY[identity_find.id_type] END
        ) t (id_type)
        UNION ALL
        SELECT
            CASE WHEN identity_find.id_type IS NULL AND identity_find.identifier
                ~* '^[0-9a-f]{{8}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{4}}-[0-9a-f]{{12}}$'
            THEN identity_find.identifier::uuid END,
            3
    ) k
    CROSS JOIN LATERAL (
        SELECT * FROM {schema}.identity_node WHERE node_key = k.key OFFSET 0
    ) n
    ORDER BY k.rank, n.node_id
$$;

CREATE OR REPLACE FUNCTION {schema}.identity_members(of_comp_id bigint)
RETURNS SETOF bigint
LANGUAGE sql STABLE
AS $$
    SELECT n.node_id
    FROM (
        SELECT of_comp_id AS comp_id
        UNION
        SELECT p.comp_id
        FROM {schema}.identity_component c
        JOIN {schema}.identity_component p ON p.root_id = c.root_id
        WHERE c.comp_id = of_comp_id
    ) k
    CROSS JOIN LATERAL (
        SELECT node_id FROM {schema}.identity_node WHERE comp_id = k.comp_id OFFSET 0
    ) n
$$;

-- outcome: 'joined' with the shortest path, a link a row; or the reasons why there is none: 'unknown',
-- 'blocked', 'hub', 'cut', 'refused', each beside the link or identifier that it is about; 'apart'
-- when nothing that was stated leads from one to the other.
CREATE OR REPLACE FUNCTION {schema}.rudder_explain(
    identifier_a text, identifier_b text, type_a text DEFAULT NULL, type_b text DEFAULT NULL
)
RETURNS TABLE (
    step int, outcome text, from_type text, from_value text, to_type text, to_value text,
    message_id text, source_id text, received_at timestamptz, detail text
)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    a {schema}.identity_node;
    b {schema}.identity_node;
    members bigint[];
    others bigint[];
    starts int[];
    targets int[];
    came_from int[];
    queue int[];
    head int := 1;
    here int;
    there int;
    edge_number int;
    goal int;
    path bigint[] := '{{}}';
    reached boolean := false;
    reasons int := 0;
    returned int;
BEGIN
    SELECT * INTO a FROM {schema}.identity_find(identifier_a, type_a) LIMIT 1;
    SELECT * INTO b FROM {schema}.identity_find(identifier_b, type_b) LIMIT 1;
    IF a.node_id IS NULL OR b.node_id IS NULL THEN
        IF a.node_id IS NULL THEN
            RETURN QUERY SELECT 0, 'unknown', type_a, identifier_a, NULL::text, NULL::text,
                NULL::text, NULL::text, NULL::timestamptz, {schema}.identity_absence(identifier_a, type_a);
        END IF;
        IF b.node_id IS NULL THEN
            RETURN QUERY SELECT 0, 'unknown', type_b, identifier_b, NULL::text, NULL::text,
                NULL::text, NULL::text, NULL::timestamptz, {schema}.identity_absence(identifier_b, type_b);
        END IF;
        RETURN;
    END IF;
    IF a.node_id = b.node_id THEN
        RETURN QUERY SELECT 0, 'joined', a.id_type, a.id_value, b.id_type, b.id_value,
            NULL::text, NULL::text, NULL::timestamptz, 'one identifier';
        RETURN;
    END IF;
    SELECT array_agg(m ORDER BY m) INTO members FROM {schema}.identity_members(a.comp_id) m;

    IF b.node_id = ANY (members) THEN
        -- breadth first over the profile's links, as arrays: the targets of member i are
        -- targets[starts[i]] up to targets[starts[i + 1] - 1]
        WITH member AS MATERIALIZED (
            SELECT m.node_id, m.i::int FROM unnest(members) WITH ORDINALITY m (node_id, i)
        ), link AS MATERIALIZED (
            SELECT x.i AS i, y.j AS j
            FROM member x
            CROSS JOIN LATERAL (
                SELECT e.node_b FROM {schema}.identity_edge e
                WHERE e.node_a = x.node_id AND e.state = '+' AND e.node_b <> e.node_a OFFSET 0
            ) e
            -- members are sorted: a binary search, where a join may compare each with each
            CROSS JOIN LATERAL (SELECT width_bucket(e.node_b, members) AS j) y
            WHERE y.j > 0 AND members[y.j] = e.node_b
        ), both_ways AS MATERIALIZED (
            SELECT i, j FROM link UNION ALL SELECT j, i FROM link
        ), degree AS (
            SELECT w.i, count(w.j) AS n
            FROM (SELECT i, j FROM both_ways UNION ALL SELECT i, NULL FROM member) w
            GROUP BY w.i
        ), start AS (
            SELECT d.i, (1 + coalesce(sum(d.n) OVER (
                ORDER BY d.i ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ), 0))::int AS first
            FROM degree d
        )
        SELECT
            (SELECT array_agg(s.first ORDER BY s.i) FROM start s),
            (SELECT array_agg(w.j ORDER BY w.i, w.j) FROM both_ways w)
        INTO starts, targets;
        starts[cardinality(members) + 1] := cardinality(targets) + 1;
        came_from := array_fill(0, ARRAY[cardinality(members)]);
        here := array_position(members, a.node_id);
        goal := array_position(members, b.node_id);
        came_from[here] := -1;
        queue := ARRAY[here];
        WHILE head <= cardinality(queue) AND NOT reached LOOP
            here := queue[head];
            head := head + 1;
            FOR edge_number IN starts[here] .. starts[here + 1] - 1 LOOP
                there := targets[edge_number];
                IF came_from[there] = 0 THEN
                    came_from[there] := here;
                    queue[cardinality(queue) + 1] := there;
                    IF there = goal THEN
                        reached := true;
                        EXIT;
                    END IF;
                END IF;
            END LOOP;
        END LOOP;
        IF reached THEN
            here := goal;
            WHILE here > 0 LOOP
                path := members[here] || path;
                here := came_from[here];
            END LOOP;
            RETURN QUERY
                SELECT p.i::int, 'joined', x.id_type, x.id_value, y.id_type, y.id_value,
                    e.message_id, e.source_id, e.first_received_at, NULL::text
                FROM unnest(path) WITH ORDINALITY p (node_id, i)
                CROSS JOIN LATERAL (SELECT path[p.i + 1] AS next_id) q
                JOIN {schema}.identity_node x ON x.node_id = p.node_id
                JOIN {schema}.identity_node y ON y.node_id = q.next_id
                JOIN {schema}.identity_edge e
                    ON (e.node_a, e.node_b) = (p.node_id, q.next_id)
                    OR (e.node_a, e.node_b) = (q.next_id, p.node_id)
                ORDER BY p.i;
            RETURN;
        END IF;
    END IF;

    SELECT array_agg(m) INTO others FROM {schema}.identity_members(b.comp_id) m;
    RETURN QUERY
        SELECT 0, 'blocked', n.id_type, n.id_value, NULL::text, NULL::text, NULL::text, NULL::text,
            NULL::timestamptz, 'hidden by rule ' || k.rule_id
        FROM {schema}.identity_blocked k
        JOIN {schema}.identity_node n ON n.node_id = k.node_id
        WHERE k.node_id IN (a.node_id, b.node_id);
    GET DIAGNOSTICS returned = ROW_COUNT;
    reasons := reasons + returned;
    RETURN QUERY
        SELECT 0, 'hub', n.id_type, n.id_value, NULL::text, NULL::text, NULL::text, NULL::text,
            h.since, 'linked with ' || h.degree || ' users'
        FROM {schema}.identity_hub h
        JOIN {schema}.identity_node n ON n.node_id = h.node_id
        WHERE h.node_id IN (a.node_id, b.node_id) OR (
            EXISTS (
                SELECT FROM {schema}.identity_edge e
                WHERE (e.node_a = h.node_id AND e.node_b = ANY (members))
                    OR (e.node_b = h.node_id AND e.node_a = ANY (members))
            ) AND EXISTS (
                SELECT FROM {schema}.identity_edge e
                WHERE (e.node_a = h.node_id AND e.node_b = ANY (others))
                    OR (e.node_b = h.node_id AND e.node_a = ANY (others))
            )
        );
    GET DIAGNOSTICS returned = ROW_COUNT;
    reasons := reasons + returned;
    RETURN QUERY
        SELECT 0, CASE e.state WHEN '-' THEN 'cut' ELSE 'refused' END,
            x.id_type, x.id_value, y.id_type, y.id_value,
            e.message_id, e.source_id, e.first_received_at,
            CASE e.state WHEN '-' THEN (
                SELECT 'cut by ' || t.actor || ' at ' || t.at || CASE t.reason
                    WHEN '' THEN '' ELSE ': ' || t.reason END
                FROM {schema}.identity_tombstone t
                WHERE t.key_a = least(x.node_key, y.node_key)
                    AND t.key_b = greatest(x.node_key, y.node_key)
            ) ELSE 'the profile would be larger than the size limit' END
        FROM {schema}.identity_edge e
        JOIN {schema}.identity_node x ON x.node_id = e.node_a
        JOIN {schema}.identity_node y ON y.node_id = e.node_b
        WHERE e.state <> '+' AND (
            (e.node_a = ANY (members) AND e.node_b = ANY (others))
            OR (e.node_a = ANY (others) AND e.node_b = ANY (members))
        );
    GET DIAGNOSTICS returned = ROW_COUNT;
    reasons := reasons + returned;
    RETURN QUERY
        SELECT 0, 'cut', a.id_type, a.id_value, b.id_type, b.id_value, NULL::text, NULL::text,
            NULL::timestamptz, 'cut by ' || t.actor || ', and not linked again since'
        FROM {schema}.identity_tombstone t
        WHERE t.key_a = least(a.node_key, b.node_key)
            AND t.key_b = greatest(a.node_key, b.node_key)
            AND NOT EXISTS (
                SELECT FROM {schema}.identity_edge e
                WHERE (e.node_a, e.node_b) IN ((a.node_id, b.node_id), (b.node_id, a.node_id))
            );
    GET DIAGNOSTICS returned = ROW_COUNT;
    reasons := reasons + returned;
    IF reasons = 0 THEN
        RETURN QUERY
            SELECT 0, 'apart', a.id_type, a.id_value, b.id_type, b.id_value, NULL::text, NULL::text,
                NULL::timestamptz, 'no active link leads from one to the other';
    END IF;
END
$$;

-- What is known of an identifier that is not stored.
CREATE OR REPLACE FUNCTION {schema}.identity_absence(identifier text, id_type text DEFAULT NULL)
RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT CASE WHEN EXISTS (
        SELECT
        FROM {schema}.identity_meta m
        CROSS JOIN LATERAL unnest(
            CASE WHEN identity_absence.id_type IS NULL THEN m.id_types
            ELSE ARRAY[identity_absence.id_type] END
        ) t (id_type)
        JOIN {schema}.identity_suppressed s
            ON s.node_key = {schema}.identity_key(t.id_type, identity_absence.identifier)
    ) THEN 'erased' ELSE 'no event has it, or the block list blocks it' END
$$;
