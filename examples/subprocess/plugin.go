package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/pluginsystem"
)

// Formatter is what the plugins of this program do.
type Formatter interface {
	Format(ctx context.Context, text string) ([]string, error)
}

// wrapConfig is the config of the plugin.
type wrapConfig struct {
	Width  int    `json:"width" jsonschema:"minimum=1,maximum=1000,default=40" jsonschema_description:"The longest line, in characters."`
	Indent string `json:"indent" jsonschema:"default=" jsonschema_description:"What each line begins with."`
}

// wrapPlugin is the plugin whose work the executable does.
func wrapPlugin(executable string, log *slog.Logger) pluginsystem.Definition[Formatter] {
	return pluginsystem.WithConfig(pluginsystem.Definition[Formatter]{
		Name: "wrap", Version: "1.0.0", Title: "Wrap", Description: "Breaks long lines.", ExecutionMode: registry.ModeSubprocess,
		Available: func(context.Context) error {
			_, err := os.Stat(executable)
			return err
		},
	}, func(ctx context.Context, c wrapConfig) (Formatter, error) {
		w := &worker{executable: executable, config: c, log: log, turn: make(chan struct{}, 1)}
		w.open, w.close = context.WithCancel(context.Background())
		if _, err := w.started(ctx); err != nil { // a config that it cannot work with is an error now
			return nil, err
		}
		return w, nil
	})
}

// worker is the plugin: a process, which is started again when it has ended.
type worker struct {
	executable string
	config     wrapConfig
	log        *slog.Logger
	open       context.Context // ends with Close
	close      context.CancelFunc
	turn       chan struct{} // full while a call looks at process or starts one
	process    *process
}

// Format has the process wrap a text. It may be called concurrently. If the process ends meanwhile, the call fails: whether to ask again is
// for the caller to decide. The next call starts the process again.
func (w *worker) Format(ctx context.Context, text string) ([]string, error) {
	p, err := w.started(ctx)
	if err != nil {
		return nil, err
	}
	return p.ask(ctx, request{Text: text})
}

// started returns the process. If it has ended, it starts another one, which gets the config first.
func (w *worker) started(ctx context.Context) (*process, error) {
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-w.turn }()
	if w.open.Err() != nil {
		return nil, errors.New("the plugin is closed")
	}
	if w.process != nil && w.process.running() {
		return w.process, nil
	}
	p, err := startProcess(w.executable, w.log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.open, cancel)()
	if _, err := p.ask(ctx, request{Config: &w.config}); err != nil {
		_ = p.end.Close()
		<-p.done
		return nil, err
	}
	w.process = p
	return p, nil
}

// ChildPIDs tells the process to Resources and Cleanup, which find its descendants.
func (w *worker) ChildPIDs() []int {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	if w.process == nil || !w.process.running() {
		return nil
	}
	return []int{w.process.cmd.Process.Pid}
}

// Close ends the process and waits for it; when ctx ends, and after five seconds at the latest, it is killed.
func (w *worker) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	w.close()
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	if w.process != nil {
		w.process.close(ctx)
	}
	return nil
}
