package pluginsystem_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/pluginsystem"
	"github.com/pluginregistry/pluginregistry/registry/secret"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// Transcriber is the application's own interface. Its results come in parts, as they are ready; an iterator is all that this needs.
type Transcriber interface {
	Transcribe(ctx context.Context, audio io.Reader) iter.Seq2[Segment, error]
}

// Segment is a piece of what was said.
type Segment struct {
	Start int    `json:"start"` // in samples
	Text  string `json:"text"`
}

// The first plugin understands Morse code: a sample is '=' while the key is down, and '.' while it is up.
type morse struct{ unit int }

type morseConfig struct {
	Unit int `json:"unit" jsonschema:"minimum=1,default=1" jsonschema_description:"How many samples a short sign lasts."`
}

func newMorse(_ context.Context, c morseConfig) (Transcriber, error) { return &morse{c.Unit}, nil }

func (m *morse) Transcribe(ctx context.Context, audio io.Reader) iter.Seq2[Segment, error] {
	alphabet := map[string]string{".-": "A", ".": "E", "--.": "G", "---": "O", "...": "S"}
	return func(yield func(Segment, error) bool) {
		samples, err := io.ReadAll(audio)
		if err != nil {
			yield(Segment{}, err)
			return
		}
		at := 0
		for letter := range strings.SplitSeq(string(samples), strings.Repeat(".", 3*m.unit)) {
			if err := ctx.Err(); err != nil {
				yield(Segment{}, err)
				return
			}
			signs := ""
			for sign := range strings.SplitSeq(letter, strings.Repeat(".", m.unit)) {
				signs += map[int]string{m.unit: ".", 3 * m.unit: "-"}[len(sign)]
			}
			if !yield(Segment{at, alphabet[signs]}, nil) {
				return
			}
			at += len(letter) + 3*m.unit
		}
	}
}

// The second plugin asks a service, with a key that is a secret.
type hosted struct{ config hostedConfig }

type hostedConfig struct {
	Endpoint string `json:"endpoint" jsonschema:"default=http://speech.example/v1,pattern=^https?://"`
	APIKey   string `json:"api_key" jsonschema:"required,minLength=8,writeOnly=true"`
}

func newHosted(_ context.Context, c hostedConfig) (Transcriber, error) { return &hosted{c}, nil }

func (h *hosted) Transcribe(ctx context.Context, audio io.Reader) iter.Seq2[Segment, error] {
	return func(yield func(Segment, error) bool) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.config.Endpoint, audio)
		if err != nil {
			yield(Segment{}, err)
			return
		}
		req.Header.Set("Authorization", "Bearer "+h.config.APIKey)
		answer := httptest.NewRecorder() // in the place of http.DefaultClient, so that the example needs no network
		speechService(answer, req)
		if answer.Code != http.StatusOK {
			yield(Segment{}, fmt.Errorf("the service says %s", http.StatusText(answer.Code)))
			return
		}
		for parts := json.NewDecoder(answer.Body); ; {
			var s Segment
			err := parts.Decode(&s)
			if errors.Is(err, io.EOF) || !yield(s, err) || err != nil {
				return
			}
		}
	}
}

// speechService hears text in any audio that is text.
func speechService(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer correct-horse" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	audio, _ := io.ReadAll(r.Body)
	at := 0
	for word := range bytes.FieldsSeq(audio) {
		_ = json.NewEncoder(w).Encode(Segment{at, strings.ToUpper(string(word))})
		at += len(word) + 1
	}
}

// Each plugin's package defines it when it is imported.
func init() {
	pluginsystem.Define(pluginsystem.WithConfig(pluginsystem.Definition[Transcriber]{
		Name: "morse", Version: "1.0.0", Title: "Morse code", Description: "Understands a telegraph.",
	}, newMorse))
	pluginsystem.Define(pluginsystem.WithConfig(pluginsystem.Definition[Transcriber]{
		Name: "hosted", Version: "2.1.0", Title: "Speech service", ExecutionMode: registry.ModeExternal,
	}, newHosted))
}

// A plugin system from the definition of its plugins to their work.
func Example() {
	ctx := context.Background()
	keys, err := secret.New(make([]byte, 32)) // of an application: from secret.OpenFile or secret.FromEnv
	if err != nil {
		log.Fatal(err)
	}
	st := memory.New()
	reg := registry.New(st, registry.WithSecrets(keys))
	plugins, err := pluginsystem.RegisterSystem[Transcriber](ctx, reg, "transcription")
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range plugins {
		fmt.Println(p.ID(), p.Version, p.Title, p.ExecutionMode)
	}

	// A config is checked before it is stored, and its secrets are sealed.
	_, err = reg.SaveConfig(ctx, "transcription_hosted", hostedConfig{APIKey: "short"})
	if v, ok := errors.AsType[*registry.ValidationError](err); ok {
		for _, issue := range v.Issues {
			fmt.Println("refused:", issue.Pointer, issue.Keyword)
		}
	}
	if _, err := reg.SaveConfig(ctx, "transcription_hosted", map[string]any{"api_key": "correct-horse"}); err != nil {
		log.Fatal(err)
	}
	stored, err := st.Get(ctx, "transcription_hosted")
	fmt.Println("stored in plain text:", bytes.Contains(stored.Config, []byte("correct-horse")), err)
	if _, err := reg.SaveConfig(ctx, "transcription_morse", map[string]any{"unit": 2}); err != nil {
		log.Fatal(err)
	}

	// The instances get it with the defaults of the schema, the secrets opened.
	system, _ := registry.ManagerAs[*pluginsystem.Manager[Transcriber]](reg, "transcription")
	defer func() {
		if err := system.UnloadAll(ctx); err != nil {
			log.Print(err)
		}
	}()
	transcribe(ctx, reg, system, "morse", "======..======..==......======..======..======")
	transcribe(ctx, reg, system, "hosted", "hello there")
	fmt.Println("loaded:", system.Loaded())

	// Output:
	// transcription_hosted 2.1.0 Speech service external
	// transcription_morse 1.0.0 Morse code in_process
	// refused: /endpoint pattern
	// refused: /api_key minLength
	// stored in plain text: false <nil>
	// morse: 0 "G"
	// morse: 24 "O"
	// hosted: 0 "HELLO"
	// hosted: 6 "THERE"
	// loaded: [hosted morse]
}

func transcribe(ctx context.Context, reg *registry.Registry, system *pluginsystem.Manager[Transcriber], name, audio string) {
	p, err := system.LoadConfigured(ctx, reg, name)
	if err != nil {
		log.Fatal(err)
	}
	for segment, err := range p.Transcribe(ctx, strings.NewReader(audio)) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %d %q\n", name, segment.Start, segment.Text)
	}
}

// A host that wants no globals gives the manager its definitions, and registers it itself.
func ExampleNewManager() {
	ctx := context.Background()
	m := pluginsystem.NewManager(pluginsystem.WithConfig(pluginsystem.Definition[Transcriber]{Name: "morse"}, newMorse))
	reg := registry.New(memory.New())
	plugins, err := reg.RegisterManager(ctx, "telegraph", m)
	if err != nil {
		log.Fatal(err)
	}
	p, err := m.Load(ctx, "morse", morseConfig{Unit: 1})
	if err != nil {
		log.Fatal(err)
	}
	for segment, err := range p.Transcribe(ctx, strings.NewReader("=.=.=...===.===.===...=.=.=")) {
		fmt.Print(segment.Text, err, " ")
	}
	fmt.Println(plugins[0].ID(), m.Unload(ctx, "morse"))
	// Output: S<nil> O<nil> S<nil> telegraph_morse <nil>
}

// Two accounts of one provider: each has its own config, its own secret and its own running plugin.
func ExampleManager_LoadConfigured_instances() {
	ctx := context.Background()
	keys, err := secret.New(make([]byte, 32))
	if err != nil {
		log.Fatal(err)
	}
	reg := registry.New(memory.New(), registry.WithSecrets(keys))
	system := pluginsystem.NewManager(pluginsystem.WithConfig(pluginsystem.Definition[Transcriber]{Name: "hosted"}, newHosted))
	if _, err := reg.RegisterManager(ctx, "speech", system); err != nil {
		log.Fatal(err)
	}
	for account, key := range map[string]string{"work": "correct-horse", "home": "battery-staple"} {
		id, err := registry.ConfigID("speech_hosted", account)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := reg.SaveConfig(ctx, id, map[string]any{"api_key": key}); err != nil {
			log.Fatal(err)
		}
	}
	if err := reg.SetNote(ctx, "speech_hosted@work", func(n *store.Note) error { n.Title = "Work account"; return nil }); err != nil {
		log.Fatal(err)
	}

	instances, err := reg.Instances(ctx, "speech_hosted")
	if err != nil {
		log.Fatal(err)
	}
	for _, i := range instances {
		p, err := system.LoadConfigured(ctx, reg, "hosted@"+i.Name)
		if err != nil {
			log.Fatal(err)
		}
		for segment, err := range p.Transcribe(ctx, strings.NewReader("hello")) {
			fmt.Printf("%s %q: %q %v\n", i.ID, i.Title, segment.Text, err)
		}
	}
	fmt.Println(system.Loaded(), system.UnloadAll(ctx))
	// Output:
	// speech_hosted@home "": "" the service says Unauthorized
	// speech_hosted@work "Work account": "HELLO" <nil>
	// [hosted@home hosted@work] <nil>
}
