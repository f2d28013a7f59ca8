package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/pluginsystem"
)

// Formatter is what the plugins of this program are.
type Formatter interface {
	Format(ctx context.Context, text string) ([]string, error)
}

// wrapConfig is the config of the plugin.
type wrapConfig struct {
	Width  int    `json:"width" jsonschema:"minimum=1,maximum=1000,default=40" jsonschema_description:"The longest line, in characters."`
	Indent string `json:"indent" jsonschema:"default=" jsonschema_description:"What each line begins with."`
}

// wrapPlugin is the plugin whose work the executable does.
func wrapPlugin(executable string) pluginsystem.Definition[Formatter] {
	return pluginsystem.WithConfig(pluginsystem.Definition[Formatter]{
		Name: "wrap", Version: "1.0.0", Title: "Wrap", Description: "Breaks long lines.", ExecutionMode: registry.ModeSubprocess,
		Available: func(context.Context) error {
			_, err := os.Stat(executable)
			return err
		},
	}, func(ctx context.Context, c wrapConfig) (Formatter, error) { return start(ctx, executable, c) })
}

// worker is an instance of the plugin: a process that is spoken to in lines of JSON.
type worker struct {
	cmd   *exec.Cmd
	done  chan struct{} // closed when the process has ended and was waited for
	mu    sync.Mutex    // a question and its answer are one step
	in    io.WriteCloser
	out   *os.File
	lines *bufio.Reader
}

// start starts the process, which runs until Close, and has it take its config. ctx ends the starting only.
func start(ctx context.Context, executable string, c wrapConfig) (*worker, error) {
	out, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	w := &worker{cmd: exec.Command(executable), done: make(chan struct{}), out: out, lines: bufio.NewReader(out)}
	w.cmd.Stdout, w.cmd.Stderr = theirs, os.Stderr
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	if err := w.cmd.Start(); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	go func() {
		_ = w.cmd.Wait() // whenever it ends, so that it never stays a zombie
		close(w.done)
	}()
	if _, err := w.ask(ctx, c); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Format has the process wrap a text. If ctx is done before the answer is there the process is killed, as its answer would be taken for
// that of the next text.
func (w *worker) Format(ctx context.Context, text string) ([]string, error) {
	return w.ask(ctx, map[string]string{"text": text})
}

func (w *worker) ask(ctx context.Context, question any) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = w.cmd.Process.Kill() })
	defer stop()
	err := json.NewEncoder(w.in).Encode(question)
	var line []byte
	if err == nil {
		line, err = w.lines.ReadBytes('\n')
	}
	if err != nil {
		return nil, errors.Join(ctx.Err(), fmt.Errorf("the worker has ended: %w", err))
	}
	var answer struct {
		Lines []string
		Error string
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return nil, errors.New("the worker's answer is not JSON")
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("the worker says: %s", answer.Error)
	}
	return answer.Lines, nil
}

// ChildPIDs tells the process to Resources and Cleanup.
func (w *worker) ChildPIDs() []int {
	select {
	case <-w.done:
		return nil
	default:
		return []int{w.cmd.Process.Pid}
	}
}

// Close ends the input of the process, upon which it ends itself, and waits for that. After five seconds it is killed.
func (w *worker) Close() error {
	_ = w.in.Close()
	select {
	case <-w.done:
	case <-time.After(5 * time.Second):
		_ = w.cmd.Process.Kill()
		<-w.done
	}
	return w.out.Close()
}
