// Package migrations holds the SQL that makes and upgrades the tables of the SQL stores, as goose reads it.
package migrations

import "embed"

// Table is the name of goose's own table, which tells the version a database has.
const Table = "pluginregistry_migrations"

// SQLite has the migrations of store/sqlite in its folder sqlite.
//
//go:embed sqlite/*.sql
var SQLite embed.FS
