-- +goose Up

-- A note beside each config: a title for people, and whether the plugin is switched off. It may be there without a config.
ALTER TABLE plugin_configs ADD COLUMN title TEXT NOT NULL DEFAULT ''
    CONSTRAINT "title has up to 512 bytes" CHECK (length(CAST(title AS BLOB)) <= 512 * length(CAST('a' AS BLOB)) AND instr(title, char(0)) = 0);
ALTER TABLE plugin_configs ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0
    CONSTRAINT "disabled is 0 or 1" CHECK (disabled IN (0, 1));
ALTER TABLE plugin_config_history ADD COLUMN title TEXT NOT NULL DEFAULT '';
ALTER TABLE plugin_config_history ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;

CREATE INDEX plugin_configs_noted ON plugin_configs (plugin_id) WHERE title <> '' OR disabled = 1;

-- One line for each config or note. Another config of a plugin than its own stands under the plugin's ID, an @ and the name of the instance.
CREATE VIEW plugin_instances AS
SELECT CASE WHEN instance = '' THEN config_id ELSE substr(config_id, 1, length(config_id) - length(instance) - 1) END AS plugin_id,
       instance, config_id, title, disabled, revision, updated_at
FROM (SELECT CASE WHEN length(last) BETWEEN 1 AND 64 AND length(last) < length(config_id) - 1 AND last NOT GLOB '*[^A-Za-z0-9._-]*' THEN last ELSE '' END AS instance, *
      FROM (SELECT substr(plugin_id, length(rtrim(plugin_id, replace(plugin_id, '@', ''))) + 1) AS last, plugin_id AS config_id, *
            FROM plugin_configs WHERE configured = 1 OR title <> '' OR disabled = 1));

-- A note has part in the revision and in the history.
DROP TRIGGER plugin_configs_history;
DROP TRIGGER plugin_configs_update;
-- +goose StatementBegin
CREATE TRIGGER plugin_configs_history AFTER UPDATE OF revision ON plugin_configs
BEGIN
    INSERT INTO plugin_config_history (plugin_id, place, revision, config, configured, changed_at, author, title, disabled)
    SELECT NEW.plugin_id, NEW.revision % history, NEW.revision, NEW.config, NEW.configured, NEW.updated_at, NEW.author, NEW.title, NEW.disabled
    FROM plugin_config_settings WHERE history > 0
    ON CONFLICT (plugin_id, place) DO UPDATE
    SET revision = excluded.revision, config = excluded.config, configured = excluded.configured, changed_at = excluded.changed_at,
        author = excluded.author, title = excluded.title, disabled = excluded.disabled;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER plugin_configs_update AFTER UPDATE OF plugin_id, config, configured, revision, title, disabled ON plugin_configs
WHEN NEW.plugin_id <> OLD.plugin_id
  OR NEW.revision <> OLD.revision AND abs(NEW.checked) <> NEW.revision
  OR NEW.revision = OLD.revision AND (NEW.config IS NOT OLD.config OR NEW.configured <> OLD.configured
                                   OR NEW.title <> OLD.title OR NEW.disabled <> OLD.disabled)
BEGIN
    SELECT RAISE(ROLLBACK, 'plugin_id stays, as the secrets in a config are bound to it: copy the config with CopyConfig and delete the old one')
    WHERE NEW.plugin_id <> OLD.plugin_id;
    SELECT RAISE(ROLLBACK, 'revision is counted by the database: leave it out') WHERE NEW.revision <> OLD.revision;
    INSERT INTO plugin_config_damaged (plugin_id, revision, config)
    SELECT OLD.plugin_id, OLD.revision, OLD.config WHERE NEW.config IS NOT OLD.config AND OLD.config IS NOT NULL AND NOT json_valid(OLD.config);
    UPDATE plugin_configs
    SET revision = OLD.revision + 1, checked = -OLD.revision - 1, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), author = 'by hand',
        configured = iif(NEW.configured = OLD.configured AND NEW.config IS NOT OLD.config, NEW.config IS NOT NULL, NEW.configured)
    WHERE plugin_id = NEW.plugin_id;
END;
-- +goose StatementEnd

-- +goose Down
DROP VIEW plugin_instances;
DROP TRIGGER plugin_configs_history;
DROP TRIGGER plugin_configs_update;
DROP INDEX plugin_configs_noted;
ALTER TABLE plugin_configs DROP COLUMN title;
ALTER TABLE plugin_configs DROP COLUMN disabled;
ALTER TABLE plugin_config_history DROP COLUMN title;
ALTER TABLE plugin_config_history DROP COLUMN disabled;
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
