// Command settings serves settings pages for the plugins of the quickstart example, on this machine only. Configs are kept in a SQLite
// file, their secrets sealed with the key in a key file. End it with Ctrl-C.
//
//	go run ./examples/settings
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/manifest"
	"github.com/pluginregistry/pluginregistry/registry/secret"
	"github.com/pluginregistry/pluginregistry/registry/settings"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("settings: ")
	var o options
	flag.StringVar(&o.address, "addr", "127.0.0.1:8080", "the `address` to serve on; anybody who can reach it may change the settings")
	flag.StringVar(&o.db, "db", "settings.db", "the `file` to keep the configs in")
	flag.StringVar(&o.key, "key", "settings.key", "the `file` with the key that seals secrets; made if it is missing")
	flag.StringVar(&o.plugins, "plugins", filepath.Join("examples", "quickstart", "plugins"), "the `directory` with a directory of manifests for each category")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, o); err != nil {
		log.Fatal(err)
	}
}

type options struct{ address, db, key, plugins string }

// run serves until ctx is done.
func run(ctx context.Context, out io.Writer, o options) (err error) {
	st, err := sqlite.Open(ctx, o.db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	keys, err := secret.OpenFile(o.key)
	if err != nil {
		return err
	}
	reg := registry.New(st, registry.WithSecrets(keys))
	if err := register(ctx, reg, o.plugins); err != nil {
		return err
	}

	// The four lines that a host needs. A host that others can reach puts its authentication around the handler.
	h := settings.New(reg, settings.WithTitle("Plugins"), settings.WithAllowedHosts("127.0.0.1", "localhost", "[::1]"),
		settings.WithLogger(slog.Default()), settings.WithAuthor(func(*http.Request) string { return os.Getenv("USER") }))
	defer h.Close()
	mux := http.NewServeMux()
	mux.Handle("/settings/", http.StripPrefix("/settings", h))
	mux.Handle("/{$}", http.RedirectHandler("settings/", http.StatusFound))

	listener, err := net.Listen("tcp", o.address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Fprintf(out, "The settings are at http://%s/settings/\nPress Ctrl-C to end.\n", listener.Addr())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	_ = h.Close() // Shutdown would wait for the event streams
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return server.Shutdown(ending)
}

// register makes a category of each directory.
func register(ctx context.Context, reg *registry.Registry, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("%w; run this in the root of the repository, or give -plugins", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		words := strings.ReplaceAll(e.Name(), "_", " ")
		_, err := reg.RegisterManager(ctx, e.Name(), manifest.Dirs(filepath.Join(dir, e.Name())), registry.WithDisplayName(strings.ToUpper(words[:1])+words[1:]))
		if _, some := errors.AsType[*registry.DiscoveryError](err); some {
			slog.Warn("not all plugins of a category could be registered", "category", e.Name(), "error", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}
