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
        CONSTRAINT "updated_at is a UTC time" CHECK (updated_at GLOB '????-??-??T??:??:??*Z'),
    last_state INTEGER -- the seq of its newest state in plugin_config_states, if it has one
) STRICT;

CREATE INDEX plugin_configs_configured ON plugin_configs (plugin_id) WHERE configured = 1;

-- The states that each config was in, its current one included, in the order in which they were saved. There is no index of them: a save would
-- have to write a page of it, too, and another where it takes a state out. So each state names the one before it, and plugin_configs the last.
CREATE TABLE plugin_config_states (
    seq        INTEGER PRIMARY KEY,
    plugin_id  TEXT    NOT NULL,
    revision   INTEGER NOT NULL,
    config     TEXT,
    configured INTEGER NOT NULL,
    changed_at TEXT    NOT NULL,
    previous   INTEGER -- the seq of the state before it of the same plugin, if there is one
) STRICT;

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
    history INTEGER NOT NULL CHECK (history >= 0), -- how many revisions of each plugin stay in the history; 0 keeps none
    -- The rest is for the triggers: which states are looked at next, whether they may go; and the row that was there before the last
    -- row that was inserted by hand.
    swept_from        INTEGER NOT NULL DEFAULT 0,
    swept_to          INTEGER NOT NULL DEFAULT 0,
    replaced          TEXT,
    replaced_revision INTEGER,
    replaced_state    INTEGER
) STRICT;

INSERT INTO plugin_config_settings (id, history) VALUES (1, 50);

-- The newest states of each plugin, as many as the settings say. Those that are older go some saves later.
CREATE VIEW plugin_config_history AS
SELECT s.seq, s.plugin_id, s.revision, s.config, s.configured, s.changed_at
FROM plugin_config_states AS s JOIN plugin_configs AS c ON c.plugin_id = s.plugin_id
WHERE s.revision > c.revision - (SELECT history FROM plugin_config_settings WHERE id = 1);

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

-- A row inserted by hand may replace one (REPLACE runs no trigger for that), so what was there is noted before.
-- +goose StatementBegin
CREATE TRIGGER plugin_configs_replace BEFORE INSERT ON plugin_configs
WHEN EXISTS (SELECT 1 FROM plugin_configs WHERE plugin_id = NEW.plugin_id)
BEGIN
    UPDATE plugin_config_settings
    SET replaced = NEW.plugin_id,
        (replaced_revision, replaced_state) = (SELECT revision, last_state FROM plugin_configs WHERE plugin_id = NEW.plugin_id)
    WHERE id = 1;
END;
-- +goose StatementEnd

-- A row that replaces one goes on from its revision and its states, whatever it brings. Where there was none, the revision is the time in
-- milliseconds, which no counter comes up to.
-- +goose StatementBegin
CREATE TRIGGER plugin_configs_insert AFTER INSERT ON plugin_configs
WHEN NEW.revision = 0 OR NEW.plugin_id IS (SELECT replaced FROM plugin_config_settings WHERE id = 1)
BEGIN
    SELECT RAISE(ROLLBACK, 'a name stands twice in one object of the config')
    WHERE json_valid(NEW.config) AND (SELECT count(*) > count(DISTINCT fullkey) FROM json_tree(NEW.config));
    UPDATE plugin_configs
    SET revision = coalesce((SELECT max(replaced_revision, NEW.revision) + 1 FROM plugin_config_settings WHERE replaced = NEW.plugin_id),
                            CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
        last_state = (SELECT replaced_state FROM plugin_config_settings WHERE replaced = NEW.plugin_id),
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
CREATE TRIGGER plugin_configs_state_insert AFTER INSERT ON plugin_configs
WHEN NEW.revision > 0 AND NEW.plugin_id IS NOT (SELECT replaced FROM plugin_config_settings WHERE id = 1)
 AND (SELECT history FROM plugin_config_settings WHERE id = 1) > 0
BEGIN
    INSERT INTO plugin_config_states (plugin_id, revision, config, configured, changed_at)
    VALUES (NEW.plugin_id, NEW.revision, NEW.config, NEW.configured, NEW.updated_at);
    UPDATE plugin_configs SET last_state = last_insert_rowid() WHERE plugin_id = NEW.plugin_id;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER plugin_configs_state_update AFTER UPDATE OF revision ON plugin_configs
WHEN NEW.revision <> OLD.revision AND (SELECT history FROM plugin_config_settings WHERE id = 1) > 0
BEGIN
    INSERT INTO plugin_config_states (plugin_id, revision, config, configured, changed_at, previous)
    VALUES (NEW.plugin_id, NEW.revision, NEW.config, NEW.configured, NEW.updated_at, NEW.last_state);
    UPDATE plugin_configs SET last_state = last_insert_rowid() WHERE plugin_id = NEW.plugin_id;
END;
-- +goose StatementEnd

-- The history may be changed by hand, to take out what should not have been saved.
-- +goose StatementBegin
CREATE TRIGGER plugin_config_history_update INSTEAD OF UPDATE OF config ON plugin_config_history
BEGIN
    UPDATE plugin_config_states SET config = NEW.config WHERE seq = OLD.seq;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER plugin_config_history_delete INSTEAD OF DELETE ON plugin_config_history
BEGIN
    DELETE FROM plugin_config_states WHERE seq = OLD.seq;
END;
-- +goose StatementEnd

-- States that are no longer in the history are taken out many at a time, in the order of the file: those saved together go together, and few
-- pages are written for it. It is done at one in 61 of the saves by which a state leaves the history (61, as 64 plugins that are saved in
-- turn would otherwise be asked at the same one each time). Each time the next 128 states are looked at, and after the last of them the first
-- again; so no more than about as many stay as are in the history.
-- +goose StatementBegin
CREATE TRIGGER plugin_config_states_sweep AFTER INSERT ON plugin_config_states
WHEN NEW.seq % 61 = 0 AND NEW.revision > (SELECT history FROM plugin_config_settings WHERE id = 1)
BEGIN
    UPDATE plugin_config_settings
    SET swept_from = swept_to,
        swept_to = coalesce((SELECT seq FROM plugin_config_states WHERE seq > swept_to ORDER BY seq LIMIT 1 OFFSET 127), 0)
    WHERE id = 1;
    DELETE FROM plugin_config_states
    WHERE seq > (SELECT swept_from FROM plugin_config_settings WHERE id = 1) AND seq <= (SELECT swept_to FROM plugin_config_settings WHERE id = 1)
      AND revision <= (SELECT c.revision FROM plugin_configs AS c WHERE c.plugin_id = plugin_config_states.plugin_id)
                    - (SELECT history FROM plugin_config_settings WHERE id = 1);
END;
-- +goose StatementEnd

-- +goose Down
DROP VIEW config_values;
DROP VIEW plugin_config_history;
DROP TABLE plugin_config_settings;
DROP TABLE plugin_config_damaged;
DROP TABLE plugin_config_states;
DROP TABLE plugin_configs;
