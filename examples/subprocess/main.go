// Command subprocess shows a plugin that works in a process of its own: how the process is built and started, how it is listed among the
// resources, how it is started anew when its config is changed in the sqlite3 shell, and how it is cleaned up. Run it in the module's
// folder:
//
//	go run ./examples/subprocess
//
// process.go shows how to talk to the process so that several calls at once, lost answers and stray lines do no harm, and guard_linux.go how
// no process is left behind when the host is killed.
//
// It needs the go command to build the process. Without a sqlite3 shell it changes the config through a second handle on the database.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/pluginsystem"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := os.MkdirTemp("", "subprocess-example")
	if err != nil {
		log.Fatal(err)
	}
	err = run(ctx, dir, os.Stdout)
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		log.Fatal(err)
	}
}

const text = "A plugin may be a program of its own: it crashes alone, it is written in any language, and it goes when it is told to."

// run is the whole example, with its files in dir.
func run(ctx context.Context, dir string, out io.Writer) (err error) {
	executable, err := build(ctx, dir)
	if err != nil {
		return err
	}
	database := filepath.Join(dir, "registry.db")
	st, err := sqlite.Open(ctx, database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	reg := registry.New(st)
	formatters := pluginsystem.NewManager(wrapPlugin(executable, slog.Default()))
	if _, err := reg.RegisterManager(ctx, "formatter", formatters); err != nil {
		return err
	}
	// Whatever happens, no process stays behind.
	defer func() { err = errors.Join(err, cleanUp(ctx, reg, out)) }()

	const id = "formatter_wrap"
	if _, err := reg.SaveConfig(ctx, id, wrapConfig{Width: 60, Indent: "| "}); err != nil {
		return err
	}
	if _, err := formatters.LoadConfigured(ctx, reg, "wrap"); err != nil {
		return err
	}
	if err := show(ctx, reg, formatters, out); err != nil {
		return err
	}

	changes := formatters.Follow(ctx, reg) // from here on no change is missed
	if err := edit(ctx, database, id, out); err != nil {
		return err
	}
	for change, err := range changes {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s reloaded: %t\n", change.ID, change.Reloaded)
		break // an application goes on, in a goroutine of its own
	}
	return show(ctx, reg, formatters, out)
}

// build builds the executable of the plugin.
func build(ctx context.Context, dir string) (string, error) {
	executable := filepath.Join(dir, "worker")
	if runtime.GOOS == "windows" {
		executable += ".exe"
	}
	said, err := output(ctx, "go", "build", "-o", executable, "github.com/pluginregistry/pluginregistry/examples/subprocess/worker")
	if err != nil {
		return "", fmt.Errorf("building the worker: %w\n%s", err, said)
	}
	return executable, nil
}

// output runs a command to its end and returns what it says.
func output(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd, end, err := command(name, args...)
	if err != nil {
		return nil, err
	}
	defer end.Close()
	defer context.AfterFunc(ctx, func() { _ = end.Close() })()
	said, err := cmd.CombinedOutput()
	return said, errors.Join(ctx.Err(), err)
}

// show has the plugin work, and tells what it holds.
func show(ctx context.Context, reg *registry.Registry, formatters *pluginsystem.Manager[Formatter], out io.Writer) error {
	formatter, ok := formatters.Get("wrap")
	if !ok {
		return errors.New("the plugin is not loaded")
	}
	lines, err := formatter.Format(ctx, text)
	if err != nil {
		return err
	}
	for _, line := range lines {
		fmt.Fprintln(out, line)
	}
	held, err := pluginsystem.Resources(ctx, reg)
	if err != nil {
		return err
	}
	for _, h := range held {
		for _, p := range h.Processes {
			fmt.Fprintf(out, "%s_%s runs as %s: process %d, alive: %t, memory in use: %t\n", h.Category, h.Name, h.ExecutionMode, p.PID, p.Alive, p.RSS > 0)
		}
	}
	if err := reg.Refresh(ctx); err != nil {
		return err
	}
	plugin, _ := reg.Plugin("formatter_wrap")
	fmt.Fprintln(out, "its metadata has the processes", plugin.ChildPIDs)
	return nil
}

// edit makes the lines shorter, as somebody at a shell would.
func edit(ctx context.Context, database, id string, out io.Writer) error {
	shell, err := exec.LookPath("sqlite3")
	if err != nil {
		fmt.Fprintln(out, "there is no sqlite3 shell here: a second handle on the database sets the width to 30")
		return editByHandle(ctx, database, id)
	}
	fmt.Fprintln(out, "the sqlite3 shell sets the width to 30")
	statement := fmt.Sprintf(`UPDATE plugin_configs SET config = json_set(config, '$.width', 30) WHERE plugin_id = '%s'`, id)
	if said, err := output(ctx, shell, "-cmd", ".timeout 5000", database, statement); err != nil {
		return fmt.Errorf("sqlite3: %w\n%s", err, said)
	}
	return nil
}

func editByHandle(ctx context.Context, database, id string) (err error) {
	st, err := sqlite.Open(ctx, database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	rec, err := st.Get(ctx, id)
	if err != nil {
		return err
	}
	var c wrapConfig
	if err := rec.Decode(&c); err != nil {
		return err
	}
	c.Width = 30
	config, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = st.Put(ctx, id, config, store.Any)
	return err
}

// cleanUp ends all that the plugins hold, and tells what is left.
func cleanUp(ctx context.Context, reg *registry.Registry, out io.Writer) error {
	cleaned, err := pluginsystem.Cleanup(ctx, reg, 5*time.Second)
	for _, c := range cleaned {
		fmt.Fprintf(out, "%s_%s is cleaned up: %d killed, %d left\n", c.Category, c.Name, len(c.Killed), len(c.Left))
	}
	return err
}
