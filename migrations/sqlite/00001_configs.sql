-- +goose Up

-- One row for each plugin that has, or had, a config. A deleted config keeps its row, and its revision counts on, so that none ever
-- comes twice.
CREATE TABLE plugin_configs (
    plugin_id  TEXT    NOT NULL PRIMARY KEY
        CONSTRAINT "plugin_id has 1 to 512 bytes" CHECK (length(CAST(plugin_id AS BLOB)) BETWEEN 1 AND 512 AND instr(plugin_id, char(0)) = 0),
    config     TEXT
        CONSTRAINT "config is one JSON object" CHECK (config IS NULL OR json_valid(config) AND (substr(config, 1, 1) = '{' OR json_type(config) = 'object')),
    configured INTEGER NOT NULL DEFAULT 1
        CONSTRAINT "configured is 1 with a config, else 0" CHECK (configured = 0 OR configured = 1 AND config IS NOT NULL),
    revision   INTEGER NOT NULL DEFAULT 0,
    updated_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
        CONSTRAINT "updated_at is a UTC time" CHECK (updated_at GLOB '????-??-??T??:??:??*Z')
) STRICT;

CREATE INDEX plugin_configs_configured ON plugin_configs (plugin_id) WHERE configured = 1;

-- The states that each config was in, its current one included; the newest of each plugin stay, as many as the settings say.
CREATE TABLE plugin_config_history (
    seq        INTEGER PRIMARY KEY,
    plugin_id  TEXT    NOT NULL,
    revision   INTEGER NOT NULL,
    config     TEXT,
    configured INTEGER NOT NULL,
    changed_at TEXT    NOT NULL
) STRICT;

CREATE UNIQUE INDEX plugin_config_history_revision ON plugin_config_history (plugin_id, revision);

-- Configs that were written by hand with the checks switched off and are no JSON, for whoever repairs them: they stay here when something is
-- saved over them.
CREATE TABLE plugin_config_damaged (
    seq        INTEGER PRIMARY KEY,
    plugin_id  TEXT    NOT NULL,
    revision   INTEGER NOT NULL,
    config     TEXT    NOT NULL,
    found_at   TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

CREATE TABLE plugin_config_settings (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    history INTEGER NOT NULL CHECK (history >= 0) -- how many states of each plugin stay; 0 keeps no history
) STRICT;

INSERT INTO plugin_config_settings (id, history) VALUES (1, 50);

-- One line for each value of each config, for people. path is what json_extract and json_set take. The config column is exact;
-- value shows a number as SQLite reads it.
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

-- The library gives each of its writes a revision. A write that brings none was made by hand and gets its revision and time here;
-- what is checked here is what the library has checked before it writes. A write that is refused takes back its whole transaction.

-- A row inserted by hand may have replaced one (REPLACE runs no trigger for that), so its revision goes on from the history, even if it
-- brings one that has been (which it has not if the line of history is its own). Where there is no history it is the time in milliseconds,
-- which no counter comes up to.
-- +goose StatementBegin
CREATE TRIGGER plugin_configs_insert AFTER INSERT ON plugin_configs
WHEN NEW.revision = 0
  OR EXISTS (SELECT 1 FROM plugin_config_history
             WHERE plugin_id = NEW.plugin_id AND revision >= NEW.revision
               AND (revision > NEW.revision OR config IS NOT NEW.config OR configured <> NEW.configured))
BEGIN
    SELECT RAISE(ROLLBACK, 'a name stands twice in one object of the config')
    WHERE json_valid(NEW.config) AND (SELECT count(*) > count(DISTINCT fullkey) FROM json_tree(NEW.config));
    UPDATE plugin_configs
    SET revision = coalesce((SELECT max(revision) + 1 FROM plugin_config_history WHERE plugin_id = NEW.plugin_id),
                            CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
        updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
    WHERE plugin_id = NEW.plugin_id;
    INSERT INTO plugin_config_damaged (plugin_id, revision, config)
    SELECT plugin_id, revision, config FROM plugin_configs
    WHERE plugin_id = NEW.plugin_id AND NOT json_valid(NEW.config) AND NEW.config IS NOT NULL;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER plugin_configs_update AFTER UPDATE OF plugin_id, config, configured, revision ON plugin_configs
WHEN NEW.plugin_id <> OLD.plugin_id OR NEW.revision < OLD.revision
  OR NEW.revision = OLD.revision AND (NEW.config IS NOT OLD.config OR NEW.configured <> OLD.configured)
BEGIN
    SELECT RAISE(ROLLBACK, 'plugin_id stays and revision only grows: insert the config under its new plugin_id and delete the old one')
    WHERE NEW.plugin_id <> OLD.plugin_id OR NEW.revision < OLD.revision;
    SELECT RAISE(ROLLBACK, 'a name stands twice in one object of the config')
    WHERE json_valid(NEW.config) AND (SELECT count(*) > count(DISTINCT fullkey) FROM json_tree(NEW.config));
    INSERT INTO plugin_config_damaged (plugin_id, revision, config)
    SELECT NEW.plugin_id, OLD.revision + 1, NEW.config WHERE NOT json_valid(NEW.config) AND NEW.config IS NOT NULL;
    UPDATE plugin_configs
    SET revision = OLD.revision + 1, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
    WHERE plugin_id = NEW.plugin_id;
END;
-- +goose StatementEnd

-- A deleted row stays as the mark of the deletion.
-- +goose StatementBegin
CREATE TRIGGER plugin_configs_delete BEFORE DELETE ON plugin_configs
BEGIN
    UPDATE plugin_configs SET config = NULL, configured = 0 WHERE plugin_id = OLD.plugin_id;
    SELECT RAISE(IGNORE);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER plugin_configs_history_insert AFTER INSERT ON plugin_configs
WHEN NEW.revision > 0 AND (SELECT history FROM plugin_config_settings WHERE id = 1) > 0
 AND NOT EXISTS (SELECT 1 FROM plugin_config_history WHERE plugin_id = NEW.plugin_id AND revision >= NEW.revision)
BEGIN
    INSERT INTO plugin_config_history (plugin_id, revision, config, configured, changed_at)
    VALUES (NEW.plugin_id, NEW.revision, NEW.config, NEW.configured, NEW.updated_at);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER plugin_configs_history_update AFTER UPDATE OF revision ON plugin_configs
WHEN NEW.revision <> OLD.revision AND (SELECT history FROM plugin_config_settings WHERE id = 1) > 0
BEGIN
    INSERT INTO plugin_config_history (plugin_id, revision, config, configured, changed_at)
    VALUES (NEW.plugin_id, NEW.revision, NEW.config, NEW.configured, NEW.updated_at);
    DELETE FROM plugin_config_history
    WHERE plugin_id = NEW.plugin_id
      -- As revisions count up by one at least, no line that must go is newer than this; most saves end here. The + keeps the index for it.
      AND revision <= NEW.revision - (SELECT history FROM plugin_config_settings WHERE id = 1)
      AND +revision <= (SELECT revision FROM plugin_config_history WHERE plugin_id = NEW.plugin_id
                       ORDER BY revision DESC LIMIT 1 OFFSET (SELECT history FROM plugin_config_settings WHERE id = 1));
END;
-- +goose StatementEnd

-- +goose Down
DROP VIEW config_values;
DROP TABLE plugin_config_settings;
DROP TABLE plugin_config_damaged;
DROP TABLE plugin_config_history;
DROP TABLE plugin_configs;
