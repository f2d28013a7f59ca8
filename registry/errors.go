package registry

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pluginregistry/pluginregistry/store"
)

// Causes of errors, beside those of package store, for errors.Is.
var (
	// ErrIDConflict: another plugin has the ID already, such as b_c of category a and c of category a_b; or the ID reads as an instance
	// of another plugin, such as python@3.11 beside python.
	ErrIDConflict = errors.New("the plugin ID is taken")
	// ErrUnknownCategory: no manager is registered for the category.
	ErrUnknownCategory = errors.New("no such category is registered")
	// ErrUnknownPlugin: no plugin with the ID is registered, nor one that the ID would be an instance of.
	ErrUnknownPlugin = errors.New("no such plugin is registered")
	// ErrUnusableSchema: the plugin's schema cannot be used to validate, and the registry has WithStrictSchemas; or the schema cannot
	// tell which values are secret.
	ErrUnusableSchema = errors.New("the plugin's schema cannot be used")
	// ErrNoSecretKey: the config has secret values, and the registry has neither WithSecrets nor WithPlaintextSecrets.
	ErrNoSecretKey = errors.New("the config has secret values and there is no key to seal them: " +
		"give the registry one with WithSecrets, or allow them to be stored in plain text with WithPlaintextSecrets")
	// ErrSecretLocked: a sealed secret cannot be opened, because its key is missing, or because it was changed, moved, or sealed for
	// another plugin or instance.
	ErrSecretLocked = errors.New("a sealed secret cannot be opened")
)

// Error is the error of one method of a Registry. Every error of a Registry's methods is one. The cause is in Err, for errors.Is and
// errors.As; the error never shows a value of a config.
type Error struct {
	Op  string // what was asked for, such as "save config"
	ID  string // the config ID, or "" if the error is not of a single one
	Err error
}

func (e *Error) Error() string {
	if e.ID == "" {
		return "registry: " + e.Op + ": " + e.Err.Error()
	}
	return "registry: " + e.Op + " " + quoteID(e.ID) + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// failed returns err as the error of op on id. nil stays nil, and what is the error of a method on id already stays as it is.
func failed(op, id string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok && e.ID == id {
		return e
	}
	return &Error{Op: op, ID: id, Err: err}
}

// quoteID shows an ID, cut if it is too long to be one.
func quoteID(id string) string {
	if len(id) > store.MaxID {
		id = id[:64] + "…"
	}
	return strconv.Quote(id)
}

// DiscoveryError tells what of a category could not be discovered. The plugins that it does not name were registered.
type DiscoveryError struct {
	Category string
	Failures []error
}

func (e *DiscoveryError) Error() string {
	texts := make([]string, len(e.Failures))
	for i, err := range e.Failures {
		texts[i] = err.Error()
	}
	return fmt.Sprintf("category %q: not all plugins were registered: %s", e.Category, strings.Join(texts, "; "))
}

func (e *DiscoveryError) Unwrap() []error { return e.Failures }

// Issue is one way in which a config does not fit its schema. It never shows a value of the config, nor a name inside a secret.
type Issue struct {
	Pointer string `json:"pointer"` // JSON Pointer to the place in the config; "" is the whole config
	Keyword string `json:"keyword"` // the keyword of the schema that it breaks
	Message string `json:"message"` // what to do, for a user
}

// ValidationError tells every way in which a config does not fit its schema.
type ValidationError struct {
	ID     string  `json:"id"`
	Issues []Issue `json:"issues"`
}

// shownIssues is how many issues the text of a ValidationError names.
const shownIssues = 5

func (e *ValidationError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the config of %s does not fit its schema", quoteID(e.ID))
	sep := ":"
	for i, issue := range e.Issues {
		if i == shownIssues {
			fmt.Fprintf(&b, "; and %d more", len(e.Issues)-shownIssues)
			break
		}
		at := "the config"
		if issue.Pointer != "" {
			at = issue.Pointer
		}
		fmt.Fprintf(&b, "%s %s: %s", sep, at, issue.Message)
		sep = ";"
	}
	return b.String()
}
