package sqlite

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/jmoiron/sqlx"
)

// maxReaders is how many reads of one store run at once. More than a few gain nothing.
const maxReaders = 4

type pools struct{ reader, writer, watcher *sqlx.DB }

// newPools returns the connections to the database at path. They are opened when they are needed.
func newPools(path string, o options) (*pools, error) {
	p := &pools{}
	for _, c := range []struct {
		pool   **sqlx.DB
		size   int
		params []string
	}{
		{&p.reader, maxReaders, []string{"_query_only", "1"}},
		// The CHECKs of the tables are for writes by hand: what comes here was checked, and to parse each config again takes a fifth of a
		// save that shares its commit.
		{&p.writer, 1, []string{"_journal_mode", "WAL", "_synchronous", "FULL", "_txlock", "immediate", "_pragma", "ignore_check_constraints(1)"}},
		{&p.watcher, 1, []string{"_query_only", "1"}},
	} {
		db, err := sqlx.Open("sqlite", dsn(path, o, c.params...))
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(c.size)
		db.SetMaxIdleConns(c.size)
		*c.pool = db
	}
	return p, nil
}

// driverPatience is how long SQLite itself waits for a lock. That cannot be cancelled; the rest of the time that a call may wait can.
const driverPatience = 20 * time.Millisecond

// dsn names the database and the pragmas of each connection. A plain path would take a ? in it for the start of the parameters.
func dsn(path string, o options, params ...string) string {
	q := url.Values{}
	q.Set("mode", "rw") // never make another file where the database has gone
	q.Set("_busy_timeout", fmt.Sprint(min(o.busyTimeout, driverPatience).Milliseconds()))
	q.Set("_dqs", "0")
	q.Add("_pragma", "journal_size_limit(4194304)")
	q.Add("_pragma", "secure_delete(1)")
	for i := 0; i < len(params); i += 2 {
		if params[i] == "mode" {
			q.Set("mode", params[i+1])
			continue
		}
		q.Add(params[i], params[i+1])
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: q.Encode()}
	if u.Path[0] != '/' { // C:/… on Windows
		u.Path = "/" + u.Path
	}
	return u.String()
}

// close closes the writer last: the last connection to close moves what is in the -wal file into the database.
func (p *pools) close() error {
	return errors.Join(p.watcher.Close(), p.reader.Close(), p.writer.Close())
}
