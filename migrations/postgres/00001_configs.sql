-- +goose Up

-- One row for each ID that has, or had, a config or a note. A deleted config keeps its row, so that its revision counts on.
-- The config is text: jsonb would lose the order of names, the digits of numbers and the escape \u0000.
CREATE TABLE plugin_configs (
    plugin_id  text        COLLATE "C" NOT NULL PRIMARY KEY,
    config     text        COLLATE "C",
    configured boolean     NOT NULL DEFAULT true,
    revision   bigint      NOT NULL DEFAULT 1,
    tag        text        COLLATE "C" NOT NULL, -- of the save that made this revision, drawn at random
    updated_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()),
    author     text        NOT NULL DEFAULT '',
    title      text        NOT NULL DEFAULT '',
    disabled   boolean     NOT NULL DEFAULT false,
    changed_in xid8        NOT NULL DEFAULT pg_current_xact_id() -- the transaction that wrote the row, for watchers
);

-- The newest states of each ID, the current one included, as many as the settings say.
CREATE TABLE plugin_config_history (
    plugin_id  text        COLLATE "C" NOT NULL,
    revision   bigint      NOT NULL,
    tag        text        COLLATE "C" NOT NULL,
    config     text        COLLATE "C",
    configured boolean     NOT NULL,
    changed_at timestamptz NOT NULL,
    author     text        NOT NULL,
    PRIMARY KEY (plugin_id, revision)
);

-- Configs that were written with the triggers off and are none: they stay here when something is saved over them.
CREATE TABLE plugin_config_damaged (
    seq       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plugin_id text        COLLATE "C" NOT NULL,
    revision  bigint      NOT NULL,
    config    text        NOT NULL,
    found_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE plugin_config_settings (
    id          integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    history     integer NOT NULL CHECK (history >= 0), -- how many states of each ID stay in the history; 0 keeps none
    min_version bigint  NOT NULL                       -- the oldest program, by its newest migration, that may use the tables
);

INSERT INTO plugin_config_settings (history, min_version) VALUES (50, 1);

-- Every value of a config with its path, objects and arrays included. It raises an error if the text is no JSON. PostgreSQL's text cannot
-- hold the character U+0000, which JSON can escape: it is shown as U+FFFD.
-- +goose StatementBegin
CREATE FUNCTION plugin_config_nodes(config text) RETURNS TABLE (place integer[], path text, type text, value text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT AS $$
    WITH RECURSIVE nodes (place, path, node) AS (
        SELECT '{}'::integer[], '$', regexp_replace(config, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g')::json
        UNION ALL
        SELECT nodes.place || child.number::integer, nodes.path || child.step, child.node
        FROM nodes, LATERAL (
            SELECT m.number, CASE WHEN m.key ~ '^[A-Za-z_][A-Za-z0-9_]*$' THEN '.' || m.key ELSE '.' || to_json(m.key) END, m.value
            FROM json_each(CASE json_typeof(nodes.node) WHEN 'object' THEN nodes.node ELSE '{}' END) WITH ORDINALITY AS m (key, value, number)
            UNION ALL
            SELECT e.number, '[' || e.number - 1 || ']', e.value
            FROM json_array_elements(CASE json_typeof(nodes.node) WHEN 'array' THEN nodes.node ELSE '[]' END) WITH ORDINALITY AS e (value, number)
        ) AS child (number, step, node)
    )
    SELECT place, path, json_typeof(node),
           CASE json_typeof(node)
               WHEN 'object' THEN CASE WHEN node::text ~ '^\s*\{\s*\}\s*$' THEN '{}' END
               WHEN 'array' THEN CASE WHEN json_array_length(node) = 0 THEN '[]' END
               WHEN 'null' THEN 'null'
               ELSE node #>> '{}'
           END
    FROM nodes;
$$;
-- +goose StatementEnd

-- What is wrong with a config, in a sentence, or NULL.
-- +goose StatementBegin
CREATE FUNCTION plugin_config_problem(config text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path FROM CURRENT AS $$
DECLARE
    twice text;
    depth integer;
BEGIN
    IF octet_length(config) > 16777216 THEN
        RETURN 'the config has more than 16 MiB';
    ELSIF json_typeof(config::json) <> 'object' THEN
        RETURN 'the config is no JSON object';
    END IF;
    SELECT max(cardinality(n.place) + 1) FILTER (WHERE n.type IN ('object', 'array')), min(n.path) FILTER (WHERE n.times > 1) INTO depth, twice
    FROM (SELECT place, path, type, count(*) OVER (PARTITION BY path) AS times FROM plugin_config_nodes(config)) AS n;
    IF twice IS NOT NULL THEN
        RETURN 'a name stands twice in one object of the config';
    ELSIF depth > 512 THEN
        RETURN 'the config has more than 512 levels';
    END IF;
    RETURN NULL;
EXCEPTION WHEN data_exception THEN
    RETURN 'the config is no JSON object, or has half of a surrogate pair in a text';
END
$$;
-- +goose StatementEnd

-- One line for each value of each config, for people. A path is one that jsonb_path_query takes. The config column is exact.
CREATE VIEW config_values AS
SELECT c.plugin_id, n.path, n.type, n.value
FROM plugin_configs AS c
CROSS JOIN LATERAL plugin_config_nodes(CASE WHEN plugin_config_problem(c.config) IS NULL THEN c.config ELSE '{}' END) AS n
WHERE c.configured AND n.path <> '$' AND n.value IS NOT NULL
ORDER BY c.plugin_id, n.place;

-- A save by the library brings the tag of the save and counts the revision on; it was checked before it was sent. A write that does not
-- was made by hand: it is checked and completed here.
-- +goose StatementBegin
CREATE FUNCTION plugin_configs_by_hand() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    problem text;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.plugin_id <> OLD.plugin_id THEN
            RAISE EXCEPTION 'plugin_id stays: insert the config under its new plugin_id and delete the old one';
        ELSIF NEW.revision <> OLD.revision OR NEW.tag <> OLD.tag THEN
            RAISE EXCEPTION 'revision and tag are set by the database: leave them out';
        ELSIF (NEW.config, NEW.configured, NEW.title, NEW.disabled) IS NOT DISTINCT FROM (OLD.config, OLD.configured, OLD.title, OLD.disabled) THEN
            IF NEW.changed_in <> OLD.changed_in THEN -- numbered anew after a restore
                RETURN NEW;
            END IF;
            RETURN NULL; -- nothing changes
        END IF;
        IF NEW.config IS DISTINCT FROM OLD.config AND NEW.configured = OLD.configured THEN
            NEW.configured := NEW.config IS NOT NULL;
        END IF;
        NEW.revision := OLD.revision + 1;
    ELSE
        NEW.configured := NEW.configured AND NEW.config IS NOT NULL;
        NEW.revision := 1;
    END IF;
    problem := CASE
        WHEN octet_length(NEW.plugin_id) NOT BETWEEN 1 AND 512 THEN 'plugin_id has 1 to 512 bytes'
        WHEN NEW.configured AND NEW.config IS NULL THEN 'configured is true only with a config'
        WHEN NEW.config IS DISTINCT FROM CASE TG_OP WHEN 'UPDATE' THEN OLD.config END THEN plugin_config_problem(NEW.config)
    END;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'check_violation';
    END IF;
    NEW.tag := left(replace(gen_random_uuid()::text, '-', ''), 13);
    NEW.updated_at := date_trunc('milliseconds', clock_timestamp());
    NEW.author := left(session_user, 64);
    NEW.changed_in := pg_current_xact_id();
    RETURN NEW;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER plugin_configs_insert BEFORE INSERT ON plugin_configs
FOR EACH ROW WHEN (NEW.tag IS NULL)
EXECUTE FUNCTION plugin_configs_by_hand();

CREATE TRIGGER plugin_configs_update BEFORE UPDATE ON plugin_configs
FOR EACH ROW WHEN (NEW.tag = OLD.tag OR NEW.revision <> OLD.revision + 1 OR NEW.plugin_id <> OLD.plugin_id)
EXECUTE FUNCTION plugin_configs_by_hand();

-- A deleted row stays as the mark of the deletion, and with its note.
-- +goose StatementBegin
CREATE FUNCTION plugin_configs_deleted() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION 'plugin_configs cannot be truncated: DELETE marks its configs as deleted';
    END IF;
    UPDATE plugin_configs SET config = NULL, configured = false WHERE plugin_id = OLD.plugin_id;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER plugin_configs_delete BEFORE DELETE ON plugin_configs
FOR EACH ROW EXECUTE FUNCTION plugin_configs_deleted();

CREATE TRIGGER plugin_configs_truncate BEFORE TRUNCATE ON plugin_configs
FOR EACH STATEMENT EXECUTE FUNCTION plugin_configs_deleted();

-- Whatever changed goes to the history, and watchers are told. It runs with the owner's rights: who saves a config need not be able to
-- write the history. States are looked up one ID after the other, with the index (OFFSET 0), however many rows the planner expects. A config
-- that is written over is looked at only if the history does not have it.
-- +goose StatementBegin
CREATE FUNCTION plugin_configs_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    keep bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM changed) THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO plugin_config_damaged (plugin_id, revision, config)
        SELECT b.plugin_id, b.revision, b.config
        FROM before AS b
        LEFT JOIN LATERAL (
            SELECT h.config FROM plugin_config_history AS h WHERE h.plugin_id = b.plugin_id AND h.revision = b.revision OFFSET 0
        ) AS kept ON true
        WHERE CASE WHEN b.config IS DISTINCT FROM kept.config THEN plugin_config_problem(b.config) END IS NOT NULL; -- CASE: only then
    END IF;
    SELECT history INTO keep FROM plugin_config_settings;
    IF keep > 0 THEN
        INSERT INTO plugin_config_history AS h (plugin_id, revision, tag, config, configured, changed_at, author)
        SELECT c.plugin_id, c.revision, c.tag, c.config, c.configured, c.updated_at, c.author FROM changed AS c
        ON CONFLICT (plugin_id, revision) DO UPDATE
        SET tag = excluded.tag, config = excluded.config, configured = excluded.configured, changed_at = excluded.changed_at, author = excluded.author
        WHERE h.tag <> excluded.tag;
        DELETE FROM plugin_config_history WHERE ctid = ANY (ARRAY(
            SELECT leaving.ctid FROM changed AS c CROSS JOIN LATERAL (
                SELECT h.ctid FROM plugin_config_history AS h WHERE h.plugin_id = c.plugin_id AND h.revision <= c.revision - keep OFFSET 0
            ) AS leaving));
    END IF;
    PERFORM pg_notify('pluginregistry_' || md5(TG_TABLE_SCHEMA), '');
    RETURN NULL;
END
$$;
-- +goose StatementEnd

REVOKE EXECUTE ON FUNCTION plugin_configs_changed() FROM PUBLIC;

CREATE TRIGGER plugin_configs_inserted AFTER INSERT ON plugin_configs
REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION plugin_configs_changed();

CREATE TRIGGER plugin_configs_updated AFTER UPDATE ON plugin_configs
REFERENCING OLD TABLE AS before NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION plugin_configs_changed();

-- Rewrites a state of the history but the current one, for a role that may write configs. Watchers are not told, as no config changes.
-- +goose StatementBegin
CREATE FUNCTION plugin_config_rewrite(id text, at bigint, of text, new_config text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT has_table_privilege(session_user, 'plugin_configs', 'UPDATE') THEN
        RAISE EXCEPTION 'permission denied: the role may not update plugin_configs' USING ERRCODE = 'insufficient_privilege';
    END IF;
    UPDATE plugin_config_history AS h SET config = new_config
    WHERE h.plugin_id = id AND h.revision = at AND h.tag = of
      AND NOT EXISTS (SELECT FROM plugin_configs AS c WHERE c.plugin_id = id AND c.revision = at AND c.tag = of);
END
$$;
-- +goose StatementEnd

-- A batch that finds an ID which another session has just made asks to be tried again as a whole.
-- +goose StatementBegin
CREATE FUNCTION plugin_configs_try_again() RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'another session made the same plugin_id' USING ERRCODE = 'serialization_failure';
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP VIEW config_values;
DROP TABLE plugin_configs, plugin_config_history, plugin_config_damaged, plugin_config_settings;
DROP FUNCTION plugin_configs_by_hand, plugin_configs_deleted, plugin_configs_changed, plugin_configs_try_again, plugin_config_rewrite, plugin_config_problem, plugin_config_nodes;
