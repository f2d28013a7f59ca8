// Package sqlite holds the SQL that makes and upgrades the tables of store/sqlite, as goose reads it.
package sqlite

import "embed"

// Table is the name of goose's own table, which tells the version a database has.
const Table = "pluginregistry_migrations"

// Files are the migrations.
//
//go:embed *.sql
var Files embed.FS
