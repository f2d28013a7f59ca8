package postgres

import (
	"crypto/md5"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// statements are the texts of all statements for one schema. Every name in them is qualified, as a search_path does not hold behind a
// pooler, and every column is named, as a later version of the tables may have more.
type statements struct {
	schema string // quoted

	limits, check, setHistory, renumber                          string
	get, configured, history, kept, note, notes, rewrite, vacuum string
	save, create, remove, setNote, createNote, current           string
	batch, ask                                                   string
	changed, all                                                 string
	holder                                                       string
	listen                                                       string
}

func newStatements(schema string) *statements {
	s := &statements{schema: pgx.Identifier{schema}.Sanitize()}
	for text, sql := range map[*string]string{
		&s.limits: limitsSQL, &s.check: checkSQL, &s.setHistory: setHistorySQL, &s.renumber: renumberSQL,
		&s.get: getSQL, &s.configured: configuredSQL, &s.history: historySQL, &s.kept: keptSQL, &s.note: noteSQL, &s.notes: notesSQL,
		&s.rewrite: rewriteSQL, &s.vacuum: vacuumSQL, &s.save: saveSQL, &s.create: createSQL, &s.remove: removeSQL, &s.setNote: setNoteSQL,
		&s.createNote: createNoteSQL, &s.current: currentSQL, &s.batch: batchSQL, &s.ask: askSQL,
		&s.changed: changedSQL, &s.all: allSQL, &s.holder: holderSQL,
	} {
		*text = strings.ReplaceAll(sql, "{schema}", s.schema)
	}
	// The channel's name is that which the trigger makes of the schema's.
	s.listen = "LISTEN " + pgx.Identifier{fmt.Sprintf("pluginregistry_%x", md5.Sum([]byte(schema)))}.Sanitize()
	return s
}

// limitsSQL bounds the statements after it in the same transaction; it goes with them in one round trip. They wait for the disk, whatever
// the server's default is.
const limitsSQL = `
SELECT set_config('statement_timeout', $1::text, true), set_config('lock_timeout', $2::text, true),
       set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)`

const (
	checkSQL = `
SELECT (SELECT max(version_id) FROM {schema}.pluginregistry_migrations WHERE is_applied), min_version, history
FROM {schema}.plugin_config_settings`
	setHistorySQL = `UPDATE {schema}.plugin_config_settings SET history = $1 WHERE history <> $1`
	// renumberSQL gives rows that a restore brought from another server a transaction of this one.
	renumberSQL = `
UPDATE {schema}.plugin_configs SET changed_in = pg_current_xact_id() WHERE changed_in >= pg_snapshot_xmax(pg_current_snapshot())`

	getSQL        = `SELECT config, revision, tag, updated_at FROM {schema}.plugin_configs WHERE plugin_id = $1 AND configured`
	configuredSQL = `SELECT plugin_id FROM {schema}.plugin_configs WHERE configured AND starts_with(plugin_id, $1) ORDER BY plugin_id`
	keptSQL       = `SELECT DISTINCT plugin_id FROM {schema}.plugin_config_history ORDER BY plugin_id`
	noteSQL       = `SELECT title, disabled FROM {schema}.plugin_configs WHERE plugin_id = $1`
	notesSQL      = `
SELECT plugin_id, title, disabled FROM {schema}.plugin_configs WHERE (title <> '' OR disabled) AND starts_with(plugin_id, $1)`

	// historySQL finds the current state in plugin_configs if no history was kept when it was saved.
	historySQL = `
SELECT config, configured, revision, tag, changed_at, author FROM {schema}.plugin_config_history WHERE plugin_id = $1
UNION ALL
SELECT c.config, c.configured, c.revision, c.tag, c.updated_at, c.author FROM {schema}.plugin_configs AS c
WHERE c.plugin_id = $1 AND NOT EXISTS (
    SELECT FROM {schema}.plugin_config_history AS h WHERE h.plugin_id = $1 AND h.revision = c.revision)
ORDER BY revision DESC LIMIT $2`
	vacuumSQL  = `VACUUM {schema}.plugin_configs, {schema}.plugin_config_history`
	rewriteSQL = `SELECT {schema}.plugin_config_rewrite($1, $2, $3, $4)`
)

// A match comes as three parameters: what is wanted (see matchMode), the revision and the tag.
const matches = `CASE $5::integer WHEN 0 THEN true WHEN 1 THEN NOT c.configured ELSE c.configured AND c.revision = $6::bigint AND c.tag = $7::text END`

// A write of one ID is an UPDATE alone if there is a row that it changes. Only if it changes none are the next two statements sent, together: a
// row is made if there is none, and the row is read. A save that changes nothing never comes to a point at which it needs a transaction ID,
// and so writes nothing to the log.
const (
	saveSQL = `
UPDATE {schema}.plugin_configs AS c
SET config = $2, configured = true, revision = c.revision + 1, tag = $3, author = $4,
    updated_at = date_trunc('milliseconds', clock_timestamp()), changed_in = pg_current_xact_id()
WHERE c.plugin_id = $1 AND (NOT c.configured OR c.config IS DISTINCT FROM $2) AND ` + matches + `
RETURNING c.revision, c.updated_at, c.configured`

	createSQL = `
INSERT INTO {schema}.plugin_configs (plugin_id, config, configured, revision, tag, author, updated_at, changed_in)
SELECT $1, $2, true, 1, $3, $4, date_trunc('milliseconds', clock_timestamp()), pg_current_xact_id()
WHERE NOT EXISTS (SELECT FROM {schema}.plugin_configs WHERE plugin_id = $1)
ON CONFLICT (plugin_id) DO NOTHING
RETURNING revision, updated_at, configured`

	removeSQL = `
UPDATE {schema}.plugin_configs AS c
SET config = NULL, configured = false, revision = c.revision + 1, tag = $3, author = $4,
    updated_at = date_trunc('milliseconds', clock_timestamp()), changed_in = pg_current_xact_id()
WHERE c.plugin_id = $1 AND c.configured AND $2::text IS NULL AND ` + matches + `
RETURNING c.revision, c.updated_at, c.configured`

	setNoteSQL = `
UPDATE {schema}.plugin_configs AS c
SET title = $2, disabled = $8::boolean, revision = c.revision + 1, tag = $3, author = $4,
    updated_at = date_trunc('milliseconds', clock_timestamp()), changed_in = pg_current_xact_id()
WHERE c.plugin_id = $1 AND (c.title <> $2 OR c.disabled <> $8::boolean) AND ` + matches + `
RETURNING c.revision, c.updated_at, c.configured`

	createNoteSQL = `
INSERT INTO {schema}.plugin_configs (plugin_id, config, configured, revision, tag, author, updated_at, changed_in, title, disabled)
SELECT $1, NULL, false, 1, $3, $4, date_trunc('milliseconds', clock_timestamp()), pg_current_xact_id(), $2, $5::boolean
WHERE ($2 <> '' OR $5::boolean) AND NOT EXISTS (SELECT FROM {schema}.plugin_configs WHERE plugin_id = $1)
ON CONFLICT (plugin_id) DO NOTHING
RETURNING revision, updated_at, configured`

	currentSQL = `SELECT configured, coalesce(config, ''), revision, tag, updated_at, title, disabled FROM {schema}.plugin_configs WHERE plugin_id = $1`
)

// batchSQL writes many requests, each of them all or none, in one statement. The IDs come sorted, and the join with LATERAL keeps their
// order, so that two batches lock the rows they share in the same order. Requests that change nothing lock nothing. All rows are locked and
// all matches decided before the first row is written. The CTEs are never joined with each other, as the planner does not know how many rows
// they have. It returns the IDs that were written, with their new revision; and all others with what is stored and whether they matched.
const batchSQL = `
WITH input AS NOT MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::bigint[], $7::text[], $8::integer[])
        AS i (plugin_id, config, tag, author, mode, want_revision, want_tag, request)
), changing AS MATERIALIZED (
    SELECT coalesce(array_agg(DISTINCT i.request), '{}') AS requests
    FROM input AS i LEFT JOIN {schema}.plugin_configs AS c ON c.plugin_id = i.plugin_id
    WHERE CASE WHEN i.config IS NULL THEN c.configured ELSE c.configured IS NOT TRUE OR c.config IS DISTINCT FROM i.config END
), decided AS MATERIALIZED (
    SELECT i.plugin_id, i.config, i.tag, i.author, i.request, c.revision AS stored_revision, c.tag AS stored_tag, c.updated_at,
           coalesce(c.configured, false) AS configured,
           CASE WHEN i.config IS NULL THEN coalesce(c.configured, false) ELSE c.configured IS NOT TRUE OR c.config IS DISTINCT FROM i.config END AS changes,
           CASE i.mode WHEN 0 THEN true WHEN 1 THEN c.configured IS NOT TRUE
               ELSE coalesce(c.configured AND c.revision = i.want_revision AND c.tag = i.want_tag, false) END AS matches
    FROM input AS i
    LEFT JOIN LATERAL (
        SELECT config, configured, revision, tag, updated_at FROM {schema}.plugin_configs
        WHERE plugin_id = i.plugin_id AND i.request = ANY ((SELECT requests FROM changing)::integer[]) FOR UPDATE
    ) AS locked ON true
    LEFT JOIN LATERAL (
        SELECT config, configured, revision, tag, updated_at FROM {schema}.plugin_configs
        WHERE plugin_id = i.plugin_id AND NOT i.request = ANY ((SELECT requests FROM changing)::integer[]) OFFSET 0
    ) AS seen ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(locked.config, seen.config) AS config, coalesce(locked.configured, seen.configured) AS configured,
               coalesce(locked.revision, seen.revision) AS revision, coalesce(locked.tag, seen.tag) AS tag,
               coalesce(locked.updated_at, seen.updated_at) AS updated_at
    ) AS c
), refused AS MATERIALIZED (
    SELECT coalesce(array_agg(DISTINCT request), '{}') AS requests FROM decided WHERE NOT matches
), updated AS (
    UPDATE {schema}.plugin_configs AS c
    SET config = d.config, configured = d.config IS NOT NULL, revision = c.revision + 1, tag = d.tag, author = d.author,
        updated_at = date_trunc('milliseconds', clock_timestamp()), changed_in = pg_current_xact_id()
    FROM decided AS d
    WHERE c.plugin_id = d.plugin_id AND d.stored_revision IS NOT NULL AND d.changes
      AND NOT d.request = ANY ((SELECT requests FROM refused)::integer[])
    RETURNING c.plugin_id, c.revision, c.updated_at
), inserted AS (
    INSERT INTO {schema}.plugin_configs (plugin_id, config, configured, revision, tag, author, updated_at, changed_in)
    SELECT d.plugin_id, d.config, true, 1, d.tag, d.author, date_trunc('milliseconds', clock_timestamp()), pg_current_xact_id()
    FROM decided AS d
    WHERE d.stored_revision IS NULL AND d.changes AND NOT d.request = ANY ((SELECT requests FROM refused)::integer[])
    ON CONFLICT (plugin_id) DO NOTHING
    RETURNING plugin_id, revision, updated_at
)
SELECT plugin_id, true AS written, revision, '' AS tag, updated_at, true AS configured, true AS matches FROM updated
UNION ALL
SELECT plugin_id, true, revision, '', updated_at, true, true FROM inserted
UNION ALL
SELECT d.plugin_id, false, coalesce(d.stored_revision, 0), coalesce(d.stored_tag, ''), coalesce(d.updated_at, 'epoch'), d.configured, d.matches FROM decided AS d
WHERE NOT d.changes OR d.request = ANY ((SELECT requests FROM refused)::integer[])
UNION ALL
SELECT '', false, 0, '', 'epoch', false, {schema}.plugin_configs_try_again()
WHERE (SELECT count(*) FROM inserted) < (
    SELECT count(*) FROM decided AS d
    WHERE d.stored_revision IS NULL AND d.changes AND NOT d.request = ANY ((SELECT requests FROM refused)::integer[]))`

// askSQL looks for the tags of saves whose answer was lost: among the current states and in the history. If it finds none, the last column
// tells whether that is certain: whether the states since the save, which began $3 ago at most, are all still there.
const askSQL = `
SELECT i.plugin_id, coalesce(s.revision, 0), coalesce(s.updated_at, 'epoch'), coalesce(s.configured, false), pg_is_in_recovery(),
       NOT EXISTS (SELECT FROM {schema}.plugin_configs AS c WHERE c.plugin_id = i.plugin_id)
       OR EXISTS (SELECT FROM {schema}.plugin_configs AS c
                  WHERE c.plugin_id = i.plugin_id AND (c.revision = 1 OR c.updated_at < clock_timestamp() - make_interval(secs => $3::float8)))
       OR EXISTS (SELECT FROM {schema}.plugin_config_history AS h
                  WHERE h.plugin_id = i.plugin_id AND (h.revision = 1 OR h.changed_at < clock_timestamp() - make_interval(secs => $3::float8)))
FROM unnest($1::text[], $2::text[]) AS i (plugin_id, tag)
LEFT JOIN LATERAL (
    SELECT c.revision, c.updated_at, c.configured FROM {schema}.plugin_configs AS c WHERE c.plugin_id = i.plugin_id AND c.tag = i.tag
    UNION ALL
    SELECT h.revision, h.changed_at, h.configured FROM {schema}.plugin_config_history AS h WHERE h.plugin_id = i.plugin_id AND h.tag = i.tag
    LIMIT 1
) AS s ON true`

// A watcher asks for the rows that are not visible in the snapshot of its last look. place tells where snapshots and transaction IDs can be
// compared: on one server, on one timeline of it, and between two of its checkpoints. After a failover IDs come again with another meaning, and
// after a crash, too: those of transactions that only notified are not flushed. Recovery ends with a checkpoint. A standby's snapshot does not
// say what is under way, so nothing is compared there. The snapshot and the rows are of one moment, as they are read by one statement.
const (
	placeSQL = `
SELECT pg_current_snapshot()::text AS snapshot,
       CASE WHEN pg_is_in_recovery() THEN '' ELSE system_identifier::text || '/' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) || '/' || checkpoint_lsn END AS place
FROM pg_control_system(), pg_control_checkpoint()`
	changedSQL = `
WITH now AS MATERIALIZED (` + placeSQL + `)
SELECT now.snapshot, now.place, c.plugin_id, c.configured, c.revision, c.tag
FROM now LEFT JOIN {schema}.plugin_configs AS c
ON now.snapshot <> $1::text AND now.place = $2::text AND now.place <> ''
   AND c.changed_in >= pg_snapshot_xmin($1::text::pg_snapshot) AND NOT pg_visible_in_snapshot(c.changed_in, $1::text::pg_snapshot)`
	allSQL = `
WITH now AS MATERIALIZED (` + placeSQL + `)
SELECT now.snapshot, now.place, c.plugin_id, c.configured, c.revision, c.tag
FROM now LEFT JOIN {schema}.plugin_configs AS c ON true`
)

// Who keeps a write waiting: the sessions that hold a lock of the table, the longest transaction first; and the one whose transaction ID the
// row bears.
const (
	holdersSQL = `
SELECT a.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''), coalesce(a.state, ''), coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float8
FROM pg_stat_activity AS a
WHERE a.pid <> pg_backend_pid() AND a.pid IN (
    SELECT l.pid FROM pg_locks AS l
    WHERE l.granted AND l.locktype = 'relation' AND l.relation = to_regclass($1::text)
      AND l.mode IN ('RowShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'))
ORDER BY a.xact_start LIMIT 5`
	holderSQL = `
SELECT l.pid FROM pg_locks AS l
WHERE l.granted AND l.locktype = 'transactionid' AND l.transactionid = (SELECT c.xmax FROM {schema}.plugin_configs AS c WHERE c.plugin_id = $1)`
)
