package registry

import (
	"errors"
	"fmt"
	"strings"
)

// What can go wrong beyond what package store says, for errors.Is.
var (
	// ErrIDConflict: two categories have plugins with the same ID, as a_b with c and a with b_c. The one there first stays.
	ErrIDConflict = errors.New("the plugin ID is taken")
	// ErrUnknownCategory: no manager is registered for the category.
	ErrUnknownCategory = errors.New("no such category is registered")
	// ErrUnknownPlugin: no plugin with the ID is registered.
	ErrUnknownPlugin = errors.New("no such plugin is registered")
	// ErrUnusableSchema: the plugin's schema cannot be used to validate, and the registry has WithStrictSchemas; or it cannot even tell
	// which fields are secret, though it speaks of secrets or the stored config has some.
	ErrUnusableSchema = errors.New("the plugin's schema cannot be used to validate its config")
	// ErrNoSecretKey: the config has secret values, and the registry has neither WithSecrets nor WithPlaintextSecrets.
	ErrNoSecretKey = errors.New("the config has secret values and there is no key to seal them: " +
		"give the registry one with WithSecrets, or allow them to be stored in plain text with WithPlaintextSecrets")
	// ErrSecretLocked: a sealed secret of the config cannot be opened, because its key is not there or because it was changed or moved.
	ErrSecretLocked = errors.New("a sealed secret cannot be opened")
)

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
	return fmt.Sprintf("registry: category %q: not all plugins were registered: %s", e.Category, strings.Join(texts, "; "))
}

func (e *DiscoveryError) Unwrap() []error { return e.Failures }

// Issue is one way in which a config does not fit its schema. It never shows a value of the config.
type Issue struct {
	Pointer string // JSON Pointer to the place in the config; "" is the whole config
	Keyword string // the keyword of the schema that it breaks
	Message string // what to do, for a user
}

// ValidationError tells every way in which a config does not fit its schema.
type ValidationError struct {
	ID     string
	Issues []Issue
}

// shownIssues is how many issues the text of a ValidationError names.
const shownIssues = 5

func (e *ValidationError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "registry: the config of %q does not fit its schema", e.ID)
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
