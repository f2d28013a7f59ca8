package manifest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/pluginregistry/pluginregistry/registry/manifest"
)

func Example() {
	dir, err := os.MkdirTemp("", "plugins")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for name, text := range map[string]string{
		"piper.json":   `{"name": "piper", "version": "1.3.0", "conda_env": "speech", "config_schema": {"type": "object"}}`,
		"broken.json":  `{"version": "0.1"}`,
		"whisper.json": `{"format_version": "2.0", "code": {"name": "whisper", "version": "1.8.0"}, "install": {}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			log.Fatal(err)
		}
	}

	ctx := context.Background()
	plugins := manifest.Dirs(filepath.Join(dir, "mine"), dir) // the first is not there, which is the same as empty
	infos, err := plugins.Discover(ctx)
	if bad, ok := errors.AsType[*manifest.FileError](err); ok {
		fmt.Printf("%s: %v\n", filepath.Base(bad.Path), bad.Err)
	}
	for _, info := range infos {
		schema, err := plugins.ConfigSchema(ctx, info.Name)
		fmt.Printf("%s %s %q %s %t\n", info.Name, info.Version, info.ExecutionMode, schema, errors.Is(err, manifest.ErrNoSchema))
	}
	// Output:
	// broken.json: the plugin has no name: "/name" must be a string that is not empty
	// piper 1.3.0 "conda_env" {"type": "object"} false
	// whisper 1.8.0 ""  true
}
