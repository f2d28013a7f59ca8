-- +goose Up

-- One row for each ID that has, or had, a config. A deleted config keeps its row, so that its revision counts on and never repeats.
CREATE TABLE plugin_configs (
    plugin_id  TEXT    NOT NULL PRIMARY KEY
        CONSTRAINT "plugin_id has 1 to 512 bytes" -- 'a' has two in a database in UTF-16
            CHECK (length(CAST(plugin_id AS BLOB)) BETWEEN 1 AND 512 * length(CAST('a' AS BLOB)) AND instr(plugin_id, char(0)) = 0),
    config     TEXT
        CONSTRAINT "config is one JSON object" CHECK (config IS NULL OR json_valid(config) AND json_type(config) = 'object'),
    configured INTEGER NOT NULL DEFAULT 1
        CONSTRAINT "configured is 1 with a config, else 0" CHECK (configured = 0 OR configured = 1 AND config IS NOT NULL),
    revision   INTEGER NOT NULL DEFAULT 0,
    updated_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
        CONSTRAINT "updated_at is a UTC time such as 2006-01-02T15:04:05.000Z"
            CHECK (updated_at GLOB '????-??-??T*Z' AND updated_at IS strftime('%Y-%m-%dT%H:%M:%fZ', updated_at, '+0 days')),
    author     TEXT    NOT NULL DEFAULT '',
    checked    INTEGER NOT NULL DEFAULT 0 -- the revision, if the library wrote it: it checks a config first; minus the revision if it was written by hand
) STRICT;

CREATE INDEX plugin_configs_configured ON plugin_configs (plugin_id) WHERE configured = 1;

-- The newest states of each ID, the current one included, as many as the settings say. It is a ring: the state that is one too old is written over.
CREATE TABLE plugin_config_history (
    plugin_id  TEXT    NOT NULL,
    place      INTEGER NOT NULL, -- revision % history
    revision   INTEGER NOT NULL,
    config     TEXT,
    configured INTEGER NOT NULL,
    changed_at TEXT    NOT NULL,
    author     TEXT    NOT NULL,
    UNIQUE (plugin_id, place)
) STRICT;

CREATE TABLE plugin_config_settings (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    history INTEGER NOT NULL CHECK (history BETWEEN 0 AND 1000000) -- how many states of each ID stay in the history; 0 keeps none
) STRICT;

INSERT INTO plugin_config_settings (id, history) VALUES (1, 50);

-- Texts that were no configs, written by hand with the checks switched off, as they were when something was saved over them.
CREATE TABLE plugin_config_damaged (
    plugin_id TEXT    NOT NULL,
    revision  INTEGER NOT NULL,
    config    TEXT    NOT NULL,
    found_at  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

-- The revision that a row had when an INSERT by hand met it. REPLACE takes such a row away, and the new one must count on.
CREATE TABLE plugin_config_replaced (
    plugin_id TEXT    NOT NULL PRIMARY KEY,
    revision  INTEGER NOT NULL
) STRICT;

-- One line for each value of each config, for people. path is what json_extract and json_set take. The config column is exact; value shows a
-- number as SQLite reads it.
CREATE VIEW config_values AS
SELECT c.plugin_id,
       v.fullkey AS path,
       v.type,
       CASE v.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' WHEN 'null' THEN 'null'
                   WHEN 'object' THEN '{}' WHEN 'array' THEN '[]' ELSE v.atom END AS value
FROM plugin_configs AS c,
     json_tree(CASE WHEN json_valid(c.config) THEN c.config ELSE '{}' END) AS v
WHERE c.configured = 1
  AND v.fullkey <> '$'
  AND (v.type NOT IN ('object', 'array') OR v.value IN ('{}', '[]'));

-- A write gives a row its next revision and says who counted it in checked, the library or one of the triggers below. Then it enters the history.
-- +goose StatementBegin
CREATE TRIGGER plugin_configs_history AFTER UPDATE OF revision ON plugin_configs
BEGIN
    INSERT INTO plugin_config_history (plugin_id, place, revision, config, configured, changed_at, author)
    SELECT NEW.plugin_id, NEW.revision % history, NEW.revision, NEW.config, NEW.configured, NEW.updated_at, NEW.author
    FROM plugin_config_settings WHERE history > 0
    ON CONFLICT (plugin_id, place) DO UPDATE
    SET revision = excluded.revision, config = excluded.config, configured = excluded.configured, changed_at = excluded.changed_at,
        author = excluded.author;
END;
-- +goose StatementEnd

-- An UPDATE by hand changes a row without its revision, which it gets here. What is refused takes back its whole transaction.
-- +goose StatementBegin
CREATE TRIGGER plugin_configs_update AFTER UPDATE OF plugin_id, config, configured, revision ON plugin_configs
WHEN NEW.plugin_id <> OLD.plugin_id
  OR NEW.revision <> OLD.revision AND abs(NEW.checked) <> NEW.revision
  OR NEW.revision = OLD.revision AND (NEW.config IS NOT OLD.config OR NEW.configured <> OLD.configured)
BEGIN
    SELECT RAISE(ROLLBACK, 'plugin_id stays, as the secrets in a config are bound to it: copy the config with CopyConfig and delete the old one')
    WHERE NEW.plugin_id <> OLD.plugin_id;
    SELECT RAISE(ROLLBACK, 'revision is counted by the database: leave it out') WHERE NEW.revision <> OLD.revision;
    INSERT INTO plugin_config_damaged (plugin_id, revision, config)
    SELECT OLD.plugin_id, OLD.revision, OLD.config WHERE OLD.config IS NOT NULL AND NOT json_valid(OLD.config);
    UPDATE plugin_configs
    SET revision = OLD.revision + 1, checked = -OLD.revision - 1, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), author = 'by hand',
        configured = iif(NEW.configured = OLD.configured AND NEW.config IS NOT OLD.config, NEW.config IS NOT NULL, NEW.configured)
    WHERE plugin_id = NEW.plugin_id;
END;
-- +goose StatementEnd

-- A DELETE by hand leaves the row as the mark of the deletion.
-- +goose StatementBegin
CREATE TRIGGER plugin_configs_delete BEFORE DELETE ON plugin_configs
BEGIN
    UPDATE plugin_configs SET config = NULL, configured = 0 WHERE plugin_id = OLD.plugin_id;
    SELECT RAISE(IGNORE);
END;
-- +goose StatementEnd

-- An INSERT by hand where a config was deleted is an update of that row.
-- +goose StatementBegin
CREATE TRIGGER plugin_configs_insert_again BEFORE INSERT ON plugin_configs
WHEN (SELECT configured FROM plugin_configs WHERE plugin_id = NEW.plugin_id) = 0
BEGIN
    UPDATE plugin_configs SET config = NEW.config, configured = NEW.configured WHERE plugin_id = NEW.plugin_id;
    SELECT RAISE(IGNORE);
END;
-- +goose StatementEnd

-- An INSERT by hand where there is a config fails, unless it is a REPLACE, which runs no trigger for the row that it takes away.
-- +goose StatementBegin
CREATE TRIGGER plugin_configs_replace BEFORE INSERT ON plugin_configs
WHEN (SELECT configured FROM plugin_configs WHERE plugin_id = NEW.plugin_id) = 1
BEGIN
    INSERT INTO plugin_config_replaced (plugin_id, revision)
    SELECT plugin_id, revision FROM plugin_configs WHERE plugin_id = NEW.plugin_id
    ON CONFLICT (plugin_id) DO UPDATE SET revision = excluded.revision;
    INSERT INTO plugin_config_damaged (plugin_id, revision, config)
    SELECT plugin_id, revision, config FROM plugin_configs WHERE plugin_id = NEW.plugin_id AND NOT json_valid(config);
END;
-- +goose StatementEnd

-- The library inserts rows without a config and then updates them. Other rows come by hand and get their revision here, whatever they bring.
-- +goose StatementBegin
CREATE TRIGGER plugin_configs_insert AFTER INSERT ON plugin_configs
WHEN NEW.config IS NOT NULL OR NEW.revision <> 0
BEGIN
    UPDATE plugin_configs
    SET (revision, checked) = (
            SELECT coalesce(max(revision), 0) + 1, -coalesce(max(revision), 0) - 1 FROM plugin_config_replaced WHERE plugin_id = NEW.plugin_id),
        updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), author = 'by hand'
    WHERE plugin_id = NEW.plugin_id;
END;
-- +goose StatementEnd

-- Names are compared as they are read: "\u0061" is "a".
-- +goose StatementBegin
CREATE TRIGGER plugin_configs_names AFTER UPDATE OF revision ON plugin_configs
WHEN NEW.checked < 0 AND json_valid(NEW.config)
BEGIN
    SELECT RAISE(ROLLBACK, 'a name stands twice in one object of the config')
    FROM json_tree(NEW.config) GROUP BY parent, key HAVING count(*) > 1;
END;
-- +goose StatementEnd

-- Where the history gets longer or shorter, the oldest states go and the others get their new places.
-- +goose StatementBegin
CREATE TRIGGER plugin_config_settings_history AFTER UPDATE OF history ON plugin_config_settings
WHEN NEW.history <> OLD.history
BEGIN
    DELETE FROM plugin_config_history
    WHERE NOT EXISTS (SELECT 1 FROM plugin_configs AS c
                      WHERE c.plugin_id = plugin_config_history.plugin_id
                        AND plugin_config_history.revision BETWEEN c.revision - NEW.history + 1 AND c.revision);
    UPDATE plugin_config_history SET place = -1 - revision % NEW.history;
    UPDATE plugin_config_history SET place = -1 - place;
END;
-- +goose StatementEnd

-- +goose Down
DROP VIEW config_values;
DROP TABLE plugin_config_replaced;
DROP TABLE plugin_config_damaged;
DROP TABLE plugin_config_settings;
DROP TABLE plugin_config_history;
DROP TABLE plugin_configs;
