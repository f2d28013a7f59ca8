// Package registry keeps, for an application that hosts plugins, one registry of all its plugin systems: which categories there are,
// which plugins each has, what config each plugin takes, and which are configured.
//
// A [Manager] is one plugin system, registered under a category: a string of the application's own, as "transcription". It is asked for
// its plugins and for the JSON Schema of each one's config. The registry keeps what it says in memory, as [Plugin] values. A plugin's ID
// is its category and its name with an underscore between.
//
// A config is a JSON object, stored by plugin ID in a [store.Store]. [Registry.SaveConfig] validates it against the plugin's schema, seals
// its secret fields, and stores it; a plugin is configured when a config of its is stored. [Registry.LoadConfig] gives back what was
// saved, [Registry.EffectiveConfig] that and the schema's defaults, [ConfigAs] that as a Go struct, [Registry.RedactedConfig] what may be
// shown.
//
//	st, err := sqlite.Open(ctx, "registry.db")
//	…
//	defer st.Close()
//	reg := registry.New(st)
//	plugins, err := reg.RegisterManager(ctx, "transcription", manifest.Dirs("plugins/transcription"))
//	…
//	_, err = reg.SaveConfig(ctx, "transcription_whisper", map[string]any{"device": "cuda"})
//
// Whoever opens a store closes it; a registry needs no closing. One bad plugin, schema or stored config never keeps the others from being
// used: its error is its own.
//
// # Concurrency
//
// All methods of a Registry may be called by any number of goroutines at once. Metadata is read from an immutable snapshot, without a
// lock: a reader sees a category as it was or as it is. Nothing runs in the background; [Registry.Watch] works while its loop runs.
//
// # Revisions
//
// Each stored config has a revision. [IfRevision] makes a save happen only over the revision that was loaded, and [Registry.UpdateConfig]
// does the whole of load, edit and save until it succeeds. [Registry.History] and [Registry.Rollback] go back, where the store keeps
// history.
package registry
