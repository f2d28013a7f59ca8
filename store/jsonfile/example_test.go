package jsonfile_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/jsonfile"
)

// Each config is a file that people can read and edit.
func Example() {
	dir, err := os.MkdirTemp("", "plugins")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	st, err := jsonfile.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	ctx := context.Background()
	rec, err := st.Put(ctx, "llm_openai", json.RawMessage(`{"model":"gpt-4o","temperature":0.7}`), store.Absent)
	if err != nil {
		log.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, "llm_openai.json"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(file))

	// An edit by hand is a new revision: a save over the one that was loaded is a conflict.
	if err := os.WriteFile(filepath.Join(dir, "llm_openai.json"), []byte(`{"model": "gpt-5"}`), 0o600); err != nil {
		log.Fatal(err)
	}
	_, err = st.Put(ctx, "llm_openai", json.RawMessage(`{"model":"gpt-4o","temperature":1}`), rec.Revision)
	fmt.Println("conflict:", err != nil)
	// Output:
	// {
	//   "model": "gpt-4o",
	//   "temperature": 0.7
	// }
	// conflict: true
}

// A note is kept beside the config, in one file for all of them.
func ExampleStore_SetNote() {
	dir, err := os.MkdirTemp("", "plugins")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	st, err := jsonfile.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	ctx := context.Background()
	if _, err := st.SetNote(ctx, "llm_openai@work", store.Note{Title: "Work account", Disabled: true}, store.Any); err != nil {
		log.Fatal(err)
	}
	notes, err := st.Notes(ctx, "llm_openai")
	fmt.Println(notes, err)
	// Output: map[llm_openai@work:{Work account true}] <nil>
}
