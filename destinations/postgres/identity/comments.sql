-- What psql shows with \d+ of the identity schema's tables and columns that analysts use.

COMMENT ON TABLE {schema}.rudder_profiles IS
    'A row is a person: everything known of them under one rudder_id.';
COMMENT ON COLUMN {schema}.rudder_profiles.rudder_id IS
    'The id of the person. Merging may end it; rudder_identity_overrides then has the new one.';
COMMENT ON COLUMN {schema}.rudder_profiles.user_id IS 'The user id of their latest event.';
COMMENT ON COLUMN {schema}.rudder_profiles.email IS
    'The trait email, else the oldest identifier of type email.';
COMMENT ON COLUMN {schema}.rudder_profiles.name IS 'The trait name, else first and last name.';
COMMENT ON COLUMN {schema}.rudder_profiles.traits IS 'Of each trait the latest value.';
COMMENT ON COLUMN {schema}.rudder_profiles.identifiers IS
    'The oldest 100 identifiers of each type; rudder_identity_mappings has all.';
COMMENT ON COLUMN {schema}.rudder_profiles.identifier_count IS 'How many identifiers they have.';
COMMENT ON COLUMN {schema}.rudder_profiles.first_seen_at IS 'The time of their first event.';
COMMENT ON COLUMN {schema}.rudder_profiles.last_seen_at IS 'The time of their latest event.';
COMMENT ON COLUMN {schema}.rudder_profiles.updated_at IS 'When this row was last changed.';

COMMENT ON VIEW {schema}.rudder_identity_mappings IS
    'A row is an identifier with the rudder_id of the person it belongs to now.';
COMMENT ON VIEW {schema}.rudder_identity_merge_rules IS
    'A row is a link in force between two identifiers of one person.';
COMMENT ON VIEW {schema}.rudder_identity_overrides IS
    'A row is an id that a person had, with the id they have now.';
COMMENT ON VIEW {schema}.rudder_accounts IS 'A row is a group that users named, with its traits.';
COMMENT ON VIEW {schema}.rudder_account_members IS 'A row is a person in a group.';

COMMENT ON TABLE {schema}.rudder_cursors IS
    'A row is a connection, or with a negative id a replay of one: how far it is loaded.';
COMMENT ON COLUMN {schema}.rudder_cursors.position IS
    'The last event of the log that is loaded; it commits with the rows.';
COMMENT ON COLUMN {schema}.rudder_cursors.loaded IS 'Events that became rows or links.';
COMMENT ON COLUMN {schema}.rudder_cursors.skipped IS 'Events that have no table and name nobody.';
COMMENT ON COLUMN {schema}.rudder_cursors.dead_letters IS 'Events that could not be loaded.';
