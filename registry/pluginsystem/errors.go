package pluginsystem

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// What can go wrong, for errors.Is. A name that no definition has is registry.ErrUnknownPlugin.
var (
	// ErrUnavailable: the plugin's Available says that it cannot be used here; the reason is wrapped beside it.
	ErrUnavailable = errors.New("the plugin is not available here")
	// ErrDisabled: the plugin was disabled.
	ErrDisabled = errors.New("the plugin is disabled; enable it to have it handed out")
	// ErrLoaded: the plugin runs already, with another config.
	ErrLoaded = errors.New("the plugin is loaded with another config; reload it to change that")
	// ErrNotLoaded: the plugin has no instance.
	ErrNotLoaded = errors.New("the plugin is not loaded")
	// ErrInUse: the category's system cannot be replaced as long as it has loaded plugins.
	ErrInUse = errors.New("the category's system has loaded plugins; unload them before it is replaced")
	// ErrCostUnknown: a remote resource runs, and neither its plugin nor its CostPerHour tells what it costs.
	ErrCostUnknown = errors.New("what the remote resource costs is not known")
)

// Error is the error of one plugin.
type Error struct {
	Op   string // what was done: "load", "reload", "unload", "discover", …
	Name string // of the plugin
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("pluginsystem: %s %q: %v", e.Op, e.Name, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// fault wraps the error of one plugin, if there is one, once.
func fault(op, name string, err error) error {
	if _, is := err.(*Error); err == nil || is {
		return err
	}
	return &Error{Op: op, Name: name, Err: err}
}

// guarded calls a function of a plugin and takes a panic for an error.
func guarded[T any](what string, f func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			v, err = *new(T), fmt.Errorf("%s panicked with a %T%s", what, p, panicPlace())
		}
	}()
	return f()
}

// panicPlace tells, within a deferred function, where the panic was raised.
func panicPlace() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	raised := false
	for {
		f, more := frames.Next()
		inRuntime := strings.HasPrefix(f.Function, "runtime.")
		if raised && !inRuntime {
			return fmt.Sprintf(" at %s:%d", filepath.Base(f.File), f.Line)
		}
		raised = raised || inRuntime && f.Function == "runtime.gopanic"
		if !more {
			return ""
		}
	}
}
