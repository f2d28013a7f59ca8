// Package postgres holds the SQL that makes and upgrades the tables of store/postgres, as goose reads it. The names in it are not
// qualified: they stand in the schema that comes first in the search_path of the transaction which runs it.
package postgres

import "embed"

// Table is the name of goose's own table, which tells the version a schema has.
const Table = "pluginregistry_migrations"

// Files are the migrations. A migration only adds: programs of the version before it go on working beside it. One that they cannot live
// with raises min_version in plugin_config_settings.
//
//go:embed *.sql
var Files embed.FS
