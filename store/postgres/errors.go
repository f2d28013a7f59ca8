package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pluginregistry/pluginregistry/store"
)

// The SQLSTATEs that a user can do something about, or the store can; see the appendix "PostgreSQL Error Codes" of its manual.
const (
	codeReadOnly         = "25006"
	codeNoStatement      = "26000"
	codeStatementTwice   = "42P05"
	codeSerialization    = "40001"
	codeDeadlock         = "40P01"
	codePlanChanged      = "0A000"
	codeNoRight          = "42501"
	codeNoTable          = "42P01"
	codeNoColumn         = "42703"
	codeNoFunction       = "42883"
	codeNoSchema         = "3F000"
	codeDiskFull         = "53100"
	codeTooMany          = "53300"
	codeLockNotAvailable = "55P03"
	codeCancelled        = "57014"
)

// fate is what is known of an attempt that failed.
type fate int

const (
	failed    fate = iota // nothing was changed, and trying again would fail likewise
	repeat                // nothing was changed; trying again at once helps
	held                  // nothing was changed, as another session holds a row or the table
	lost                  // there was no connection, or no server that takes writes; nothing was sent
	uncertain             // the answer was lost
)

// attemptError is the error of one attempt, as the user may see it.
type attemptError struct {
	error
	fate    fate
	discard bool // the connection leads to a server that does not help
	silence bool // the server did not answer in time
}

func (e *attemptError) Unwrap() error { return e.error }

// judge rebuilds an error of the driver and says what became of the attempt. Errors of the server can quote a config: in their detail, in
// their context and, in some classes, in their message. Those of the driver can quote arguments. So nothing of an error is kept but what is
// known to show no value.
func judge(err error) *attemptError {
	if a, ok := errors.AsType[*attemptError](err); ok {
		return a
	}
	if e, ok := errors.AsType[*store.Error](err); ok {
		return &attemptError{error: e}
	}
	connecting, _ := errors.AsType[*pgconn.ConnectError](err)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		a := judgeServer(pg)
		if connecting != nil && a.fate == uncertain {
			a.fate = lost
		}
		return a
	}
	a := &attemptError{fate: uncertain}
	var preparing pgx.ErrPreprocessingBatch // no statement has run
	if connecting != nil || pgconn.SafeToRetry(err) || errors.As(err, &preparing) {
		a.fate = lost
	}
	what := "the connection to the server was lost"
	if connecting != nil {
		what = "no connection to the server"
	}
	var network *net.OpError
	var lookup *net.DNSError
	var errno syscall.Errno
	switch {
	case errors.As(err, &lookup):
		a.error = fmt.Errorf("%s: %w", what, lookup)
	case errors.As(err, &network) && !network.Timeout():
		a.error = fmt.Errorf("%s: %w", what, network)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		a.error = fmt.Errorf("%s: %w", what, io.ErrUnexpectedEOF)
	case errors.As(err, &errno):
		a.error = fmt.Errorf("%s: %w", what, errno)
	case pgconn.Timeout(err), errors.Is(err, context.DeadlineExceeded):
		a.error, a.silence = errors.New("the server did not answer in time"), true
	case connecting != nil:
		a.error = fmt.Errorf("%s: %s", what, describe(connecting.Unwrap()))
	case errors.Is(err, context.Canceled):
		a.error = errors.New("the call was cancelled")
	case a.fate == lost || errors.Is(err, net.ErrClosed) || strings.HasPrefix(fmt.Sprintf("%T", rootOf(err)), "*pgconn."):
		a.error = errors.New(what)
	default: // such as a value that the driver cannot encode
		a.fate, a.error = failed, fmt.Errorf("the driver reported an error of type %T", rootOf(err))
	}
	return a
}

// rootOf returns the innermost error of err.
func rootOf(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// describe says why there is no connection. What a server or a TLS library says then is about names and certificates. Only the error of a DSN
// that cannot be read could show a password, and that is none of these.
func describe(err error) string {
	if err == nil {
		return "unknown reason"
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// silent has the classes of errors whose message names objects and limits, never values.
var silent = map[string]bool{
	"08": true, "0A": true, "25": true, "26": true, "28": true, "3D": true, "3F": true, "40": true, "42": true, "53": true, "54": true, "55": true,
	"57": true, "58": true, "F0": true, "XX": true,
}

// rebuild returns a copy of an error of the server without the fields that can quote a config.
func rebuild(pg *pgconn.PgError) *pgconn.PgError {
	clean := &pgconn.PgError{Severity: pg.Severity, SeverityUnlocalized: pg.SeverityUnlocalized, Code: pg.Code,
		SchemaName: pg.SchemaName, TableName: pg.TableName, ConstraintName: pg.ConstraintName}
	switch {
	case len(pg.Code) == 5 && silent[pg.Code[:2]] && pg.Code != "42601": // a syntax error quotes the text around it
		clean.Message = pg.Message
	case pg.ConstraintName != "":
		clean.Message = fmt.Sprintf("the row was refused by the constraint %q", pg.ConstraintName)
	default:
		clean.Message = "the server refused it; its log says why"
	}
	return clean
}

func judgeServer(original *pgconn.PgError) *attemptError {
	pg := rebuild(original)
	a := &attemptError{error: pg}
	switch pg.Code {
	case codeReadOnly:
		a.fate, a.discard = lost, true
		a.error = fmt.Errorf("connected to a standby, or to a server that takes no writes: put target_session_attrs=read-write into the DSN: %w", pg)
	case codeNoStatement, codeStatementTwice:
		a.error = fmt.Errorf("a pooler in transaction mode does not keep prepared statements: put default_query_exec_mode=exec into the DSN: %w", pg)
	case codeSerialization, codeDeadlock, codePlanChanged:
		a.fate = repeat
	case codeNoRight:
		a.error = fmt.Errorf("a GRANT is missing (the application needs USAGE on the schema, SELECT, INSERT and UPDATE on plugin_configs, and SELECT on plugin_config_history, plugin_config_settings and pluginregistry_migrations): %w", pg)
	case codeNoTable, codeNoColumn, codeNoFunction, codeNoSchema:
		a.error = fmt.Errorf("the tables are missing or not those of this version; Migrate makes them: %w", pg)
	case codeDiskFull:
		a.error = fmt.Errorf("%w on the server: make room and try again: %w", syscall.ENOSPC, pg)
	case codeLockNotAvailable, codeCancelled:
		a.fate = held
	case codeTooMany:
		a.fate = lost
	default:
		severity := pg.SeverityUnlocalized
		if severity == "" {
			severity = pg.Severity
		}
		if strings.HasPrefix(pg.Code, "08") || strings.HasPrefix(pg.Code, "57P") || severity == "FATAL" || severity == "PANIC" {
			a.fate = uncertain
		}
	}
	return a
}

// wrap makes the error of a call.
func wrap(op, id string, err error) error {
	if e, ok := errors.AsType[*store.Error](err); ok {
		return e
	}
	if a, ok := err.(*attemptError); ok {
		err = a.error
	}
	return &store.Error{Op: op, ID: id, Err: err}
}
