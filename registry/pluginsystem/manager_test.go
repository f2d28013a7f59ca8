package pluginsystem_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/pluginsystem"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

const secretText = "hunter2-of-the-test"

// define returns the definition of a plugin whose instances tell their config.
func define(name string) pluginsystem.Definition[doer] {
	return pluginsystem.Definition[doer]{Name: name, New: func(_ context.Context, config json.RawMessage) (doer, error) {
		return &thing{config: string(config)}, nil
	}}
}

func ok[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("the error is %v, want %v", err, want)
	}
}

func panicText(t *testing.T, f func()) (text string) {
	t.Helper()
	defer func() {
		p := recover()
		if p == nil {
			t.Fatal("it did not panic")
		}
		text = fmt.Sprint(p)
	}()
	f()
	return ""
}

func TestLoad(t *testing.T) {
	def := define("a")
	def.Schema = json.RawMessage(`{"type":"object","properties":{"size":{"type":"integer","default":3},"key":{"type":"string"}}}`)
	m := pluginsystem.NewManager(def, define("b"))
	ctx := t.Context()

	if _, ok := m.Get("a"); ok {
		t.Error("Get found an instance before Load")
	}
	first := ok[doer](t)(m.Load(ctx, "a", map[string]any{"key": "k"}))
	if got, want := first.Do(), `{"key":"k","size":3}`; got != want {
		t.Errorf("New got %s, want the config over the defaults: %s", got, want)
	}
	if again := ok[doer](t)(m.Load(ctx, "a", json.RawMessage(` {"key": "k"} `))); again != first {
		t.Error("the same config made another instance")
	}
	if got, ok := m.Get("a"); !ok || got != first {
		t.Error("Get did not return the instance")
	}
	_, err := m.Load(ctx, "a", map[string]any{"key": secretText})
	wantError(t, err, pluginsystem.ErrLoaded)
	if got, _ := m.Get("a"); got != first {
		t.Error("a refused Load changed the instance")
	}
	ok[doer](t)(m.Load(ctx, "b", struct{}{}))
	if got := m.Loaded(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("Loaded is %q", got)
	}

	_, err = m.Load(ctx, "nobody", map[string]any{})
	wantError(t, err, registry.ErrUnknownPlugin)
	if e, is := errors.AsType[*pluginsystem.Error](err); !is || e.Name != "nobody" || e.Op != "load" {
		t.Errorf("the error is %#v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	def := define("a")
	def.Schema = json.RawMessage(`{"type":"object","properties":{"size":{"type":"integer"}}}`)
	def.New = func(context.Context, json.RawMessage) (doer, error) {
		t.Error("New was called")
		return nil, nil
	}
	m := pluginsystem.NewManager(def)
	_, err := m.Load(t.Context(), "a", map[string]any{"size": secretText})
	v, is := errors.AsType[*registry.ValidationError](err)
	if !is || len(v.Issues) != 1 || v.Issues[0].Pointer != "/size" || strings.Contains(err.Error(), secretText) {
		t.Errorf("the error is %v", err)
	}
	for _, config := range []any{nil, []byte(`[]`), json.RawMessage(`{"size":`), 3} {
		_, err := m.Load(t.Context(), "a", config)
		wantError(t, err, store.ErrInvalidConfig)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // whether it waits or not is not left to chance
		_, err = m.Load(done, "a", map[string]any{})
		wantError(t, err, context.Canceled)
	}
	if err := m.Disable(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	_, err = m.Load(t.Context(), "a", map[string]any{})
	wantError(t, err, pluginsystem.ErrDisabled)
	if len(m.Loaded()) > 0 {
		t.Error("something was loaded")
	}
}

func TestLoadNewFails(t *testing.T) {
	broken := errors.New("no model")
	for name, test := range map[string]struct {
		create func(context.Context, json.RawMessage) (doer, error)
		want   string
	}{
		"error":    {func(context.Context, json.RawMessage) (doer, error) { return &thing{}, broken }, "no model"},
		"nil":      {func(context.Context, json.RawMessage) (doer, error) { return nil, nil }, "New returned nil"},
		"panic":    {func(_ context.Context, c json.RawMessage) (doer, error) { panic(string(c)) }, "New panicked with a string at manager_test.go:"},
		"bad code": {func(_ context.Context, c json.RawMessage) (doer, error) { var w *worker; return w, w.cmd.Err }, "New panicked with a runtime.errorString at manager_test.go:"},
	} {
		t.Run(name, func(t *testing.T) {
			def := define("a")
			def.New = test.create
			m := pluginsystem.NewManager(def, define("b"))
			_, err := m.Load(t.Context(), "a", map[string]any{"key": secretText})
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), secretText) {
				t.Errorf("the error is %v, want %q in it", err, test.want)
			}
			if name == "error" {
				wantError(t, err, broken)
			}
			if _, found := m.Get("a"); found || len(m.Loaded()) > 0 {
				t.Error("it is loaded all the same")
			}
			ok[doer](t)(m.Load(t.Context(), "b", map[string]any{}))
		})
	}
}

// TestLoadOnce loads one plugin from many goroutines at once.
func TestLoadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Int32
		goOn := make(chan struct{})
		def := define("slow")
		def.New = func(ctx context.Context, config json.RawMessage) (doer, error) {
			made.Add(1)
			<-goOn
			return &thing{}, nil
		}
		m := pluginsystem.NewManager(def, define("other"))
		got := make([]doer, 16)
		var loading sync.WaitGroup
		for i := range got {
			loading.Go(func() { got[i], _ = m.Load(t.Context(), "slow", map[string]any{}) })
		}
		impatient, cancel := context.WithCancel(t.Context())
		var impatientErr error
		loading.Go(func() { _, impatientErr = m.Load(impatient, "slow", map[string]any{}) })
		synctest.Wait()

		cancel()
		ok[doer](t)(m.Load(t.Context(), "other", map[string]any{})) // is not held up
		if _, found := m.Get("slow"); found {
			t.Error("Get found what is not made yet")
		}
		synctest.Wait()
		close(goOn)
		loading.Wait()
		if made.Load() != 1 {
			t.Errorf("%d instances were made", made.Load())
		}
		for _, p := range got {
			if p == nil || p != got[0] {
				t.Fatal("not all got the same instance")
			}
		}
		if impatientErr != nil { // it either waited for nothing or came first
			wantError(t, impatientErr, context.Canceled)
		}
	})
}

// TestLoadWaitsWithContext waits for a load that does not end.
func TestLoadWaitsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		def := define("slow")
		def.New = func(context.Context, json.RawMessage) (doer, error) { <-goOn; return &thing{}, nil }
		m := pluginsystem.NewManager(def)
		var both sync.WaitGroup
		both.Go(func() { _, _ = m.Load(t.Context(), "slow", map[string]any{}) })
		synctest.Wait()
		waiting, cancel := context.WithCancel(t.Context())
		both.Go(func() {
			_, err := m.Load(waiting, "slow", map[string]any{})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the error is %v", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait() // the second has gone while the first still loads
		if m.Loaded() != nil {
			t.Error("the first was not under way")
		}
		close(goOn)
		both.Wait()
	})
}

// TestLoadAfterFailure lets the second of two loads try for itself.
func TestLoadAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		var calls atomic.Int32
		def := define("a")
		def.New = func(context.Context, json.RawMessage) (doer, error) {
			if calls.Add(1) == 1 {
				<-goOn
				return nil, errors.New("not now")
			}
			return &thing{}, nil
		}
		m := pluginsystem.NewManager(def)
		errs := make([]error, 2)
		var loading sync.WaitGroup
		for i := range errs {
			loading.Go(func() { _, errs[i] = m.Load(t.Context(), "a", map[string]any{}) })
			synctest.Wait()
		}
		close(goOn)
		loading.Wait()
		if errs[0] == nil || errs[1] != nil {
			t.Errorf("the errors are %v", errs)
		}
	})
}

func TestAvailable(t *testing.T) {
	missing := errors.New("libfoo is missing")
	var reason error = missing
	def := define("a")
	def.Available = func(context.Context) error { return reason }
	panics := define("c")
	panics.Available = func(context.Context) error { panic(secretText) }
	m := pluginsystem.NewManager(def, define("b"), panics)
	infos, err := m.Discover(t.Context())
	if len(infos) != 1 || infos[0].Name != "b" {
		t.Errorf("discovered: %v", infos)
	}
	wantError(t, err, missing)
	wantError(t, err, pluginsystem.ErrUnavailable)
	if strings.Contains(err.Error(), secretText) || !strings.Contains(err.Error(), `"c": the plugin is not available here: Available panicked with a string`) {
		t.Errorf("the error is %v", err)
	}
	_, err = m.Load(t.Context(), "a", map[string]any{})
	wantError(t, err, missing)
	wantError(t, err, pluginsystem.ErrUnavailable)

	reason = nil
	ok[doer](t)(m.Load(t.Context(), "a", map[string]any{}))
	reason = missing // one that runs stays listed
	infos, _ = m.Discover(t.Context())
	if len(infos) != 2 {
		t.Errorf("discovered: %v", infos)
	}
}

func TestConfigSchema(t *testing.T) {
	def := define("a")
	def.Schema = json.RawMessage(`{"title":"A"}`)
	m := pluginsystem.NewManager(def, define("b"))
	if got, err := m.ConfigSchema(t.Context(), "a"); err != nil || string(got) != `{"title":"A"}` {
		t.Errorf("the schema is %s, %v", got, err)
	}
	if got, err := m.ConfigSchema(t.Context(), "b"); err != nil || got != nil {
		t.Errorf("the schema is %s, %v", got, err)
	}
	_, err := m.ConfigSchema(t.Context(), "c")
	wantError(t, err, registry.ErrUnknownPlugin)
}

func enabled(t *testing.T, m *pluginsystem.Manager[doer], name string) bool {
	t.Helper()
	return ok[bool](t)(m.Enabled(t.Context(), name))
}

func TestDisable(t *testing.T) {
	closed := false
	def := define("a")
	def.New = func(context.Context, json.RawMessage) (doer, error) {
		return &thing{close: func() error { closed = true; return nil }}, nil
	}
	m := pluginsystem.NewManager(def)
	config := map[string]any{}
	ok[doer](t)(m.Load(t.Context(), "a", config))
	if err := m.Disable(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	_, err := m.Load(t.Context(), "a", config)
	wantError(t, err, pluginsystem.ErrDisabled)
	_, err = m.Reload(t.Context(), "a", config)
	wantError(t, err, pluginsystem.ErrDisabled)
	if _, found := m.Get("a"); closed || !found || enabled(t, m, "a") {
		t.Error("disabling ended the running plugin")
	}
	if err := m.Enable(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	ok[doer](t)(m.Load(t.Context(), "a", config))
	if !enabled(t, m, "a") {
		t.Error("an enabled plugin is not enabled")
	}
	wantError(t, m.Disable(t.Context(), "nobody"), registry.ErrUnknownPlugin)
	wantError(t, m.Enable(t.Context(), "nobody"), registry.ErrUnknownPlugin)
	_, err = m.Enabled(t.Context(), "nobody")
	wantError(t, err, registry.ErrUnknownPlugin)
}

func TestUnload(t *testing.T) {
	var mu sync.Mutex
	var closed []string
	failing := errors.New("still busy")
	var defs []pluginsystem.Definition[doer]
	for _, name := range []string{"a", "b", "c", "d"} {
		def := define(name)
		def.New = func(context.Context, json.RawMessage) (doer, error) {
			return &thing{close: func() error {
				mu.Lock()
				defer mu.Unlock()
				closed = append(closed, name)
				switch name {
				case "b":
					return failing
				case "d":
					panic(secretText)
				}
				return nil
			}}, nil
		}
		defs = append(defs, def)
	}
	m := pluginsystem.NewManager(defs...)
	for _, name := range []string{"c", "d", "b", "a"} {
		ok[doer](t)(m.Load(t.Context(), name, map[string]any{}))
	}
	if err := m.Unload(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, found := m.Get("a"); found {
		t.Error("it is still there")
	}
	wantError(t, m.Unload(t.Context(), "a"), pluginsystem.ErrNotLoaded)
	wantError(t, m.Unload(t.Context(), "nobody"), registry.ErrUnknownPlugin)

	err := m.UnloadAll(t.Context())
	wantError(t, err, failing)
	if !strings.Contains(err.Error(), `unload "d": Close panicked with a string at manager_test.go:`) || strings.Contains(err.Error(), secretText) {
		t.Errorf("the error is %v", err)
	}
	slices.Sort(closed)
	if want := []string{"a", "b", "c", "d"}; !slices.Equal(closed, want) {
		t.Errorf("closed: %q, want %q", closed, want)
	}
	if m.Loaded() != nil {
		t.Errorf("%q are still loaded", m.Loaded())
	}
	if err := m.UnloadAll(t.Context()); err != nil {
		t.Error(err)
	}
}

// stuck is a plugin whose Close returns when goOn is closed. closing is closed when it is called.
type stuck struct {
	thing
	closing, goOn chan struct{}
}

func newStuck() *stuck { return &stuck{closing: make(chan struct{}), goOn: make(chan struct{})} }

func (s *stuck) Close() error { close(s.closing); <-s.goOn; return nil }

// manage returns a manager of plugins that are these, all loaded.
func manage(t *testing.T, plugins map[string]doer) *pluginsystem.Manager[doer] {
	m, _ := holding(t, plugins)
	return m
}

// TestUnloadAllWithOneHanging has one Close that never returns: the others are closed meanwhile, and the error names the one.
func TestUnloadAllWithOneHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := newStuck()
		var closed atomic.Int32
		plugins := map[string]doer{"hung": hung}
		for _, name := range []string{"a", "b", "z"} {
			plugins[name] = &thing{close: func() error { closed.Add(1); return nil }}
		}
		m := manage(t, plugins)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var err error
		done := make(chan struct{})
		go func() { err = m.UnloadAll(ctx); close(done) }()
		<-hung.closing
		synctest.Wait() // ctx has not ended
		if closed.Load() != 3 {
			t.Errorf("%d of 3 others were closed while one hangs", closed.Load())
		}
		<-done
		wantError(t, err, context.DeadlineExceeded)
		if e, is := errors.AsType[*pluginsystem.Error](err); !is || e.Name != "hung" || strings.Count(err.Error(), "unload ") != 1 {
			t.Errorf("the error is %v, want one that names the plugin that hangs, and no other", err)
		}
		if m.Loaded() != nil {
			t.Errorf("loaded: %q", m.Loaded())
		}
		ok[doer](t)(m.Load(t.Context(), "hung", map[string]any{})) // the name is free again
		close(hung.goOn)
	})
}

// TestUnloadHanging unloads a plugin whose Close hangs, while others want the same and another name.
func TestUnloadHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := newStuck()
		m := manage(t, map[string]doer{"hung": hung, "other": &thing{}})
		go func() { _ = m.Unload(context.Background(), "hung") }()
		<-hung.closing
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantError(t, m.Unload(impatient, "hung"), context.DeadlineExceeded)
		_, err := m.Load(impatient, "hung", map[string]any{})
		wantError(t, err, context.DeadlineExceeded)
		if err := m.UnloadAll(t.Context()); err != nil { // it is not loaded any more
			t.Error(err)
		}
		if _, found := m.Get("hung"); found {
			t.Error("what is being closed is handed out")
		}
		close(hung.goOn)
	})
}

// TestReloadHanging replaces a plugin whose Close hangs.
func TestReloadHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := newStuck()
		def := define("a")
		made := 0
		def.New = func(context.Context, json.RawMessage) (doer, error) {
			if made++; made == 1 {
				return hung, nil
			}
			return &thing{}, nil
		}
		m := pluginsystem.NewManager(def)
		ok[doer](t)(m.Load(t.Context(), "a", map[string]any{"n": 1}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p, err := m.Reload(ctx, "a", map[string]any{"n": 2})
		wantError(t, err, context.DeadlineExceeded)
		if now, _ := m.Get("a"); p == nil || now != p {
			t.Error("the new one does not run")
		}
		close(hung.goOn)
	})
}

// TestUnloadAfterTheEnd unloads with a context that has ended, as a program that was told to end does.
func TestUnloadAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closed atomic.Int32
		m := manage(t, map[string]doer{"a": &thing{close: func() error { closed.Add(1); return nil }}, "b": &closesLate{&closed}})
		done, cancel := context.WithCancel(t.Context())
		cancel()
		if err := m.UnloadAll(done); err != nil {
			wantError(t, err, context.Canceled)
		}
		synctest.Wait()
		if closed.Load() != 2 || m.Loaded() != nil {
			t.Errorf("%d of 2 were closed, loaded: %q", closed.Load(), m.Loaded())
		}
	})
}

// closesLate closes when its context ends.
type closesLate struct{ closed *atomic.Int32 }

func (*closesLate) Do() string { return "" }

func (c *closesLate) Close(ctx context.Context) error {
	<-ctx.Done()
	c.closed.Add(1)
	return nil
}

type closesQuietly struct {
	thing
	closed bool
}

func (c *closesQuietly) Close() { c.closed = true }

type closesWithContext struct {
	thing
	closed bool
}

func (c *closesWithContext) Close(context.Context) error { c.closed = true; return nil }

func TestUnloadKindsOfClose(t *testing.T) {
	quiet, withContext := &closesQuietly{}, &closesWithContext{}
	instances := map[string]interface{ Do() string }{"quiet": quiet, "context": withContext}
	for name, p := range instances {
		m := pluginsystem.NewManager(pluginsystem.Definition[doer]{Name: name,
			New: func(context.Context, json.RawMessage) (doer, error) { return p, nil }})
		ok[doer](t)(m.Load(t.Context(), name, map[string]any{}))
		if err := m.Unload(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	if !quiet.closed || !withContext.closed {
		t.Errorf("closed: %t, %t", quiet.closed, withContext.closed)
	}
}

func TestReload(t *testing.T) {
	var m *pluginsystem.Manager[doer]
	broken := errors.New("no such device")
	closing := errors.New("old one hangs on")
	var events []string
	def := define("a")
	def.New = func(_ context.Context, config json.RawMessage) (doer, error) {
		events = append(events, "new "+string(config))
		if strings.Contains(string(config), "bad") {
			return nil, broken
		}
		return &thing{config: string(config), close: func() error {
			now, _ := m.Get("a")
			events = append(events, "close "+string(config)+" while "+now.Do())
			return closing
		}}, nil
	}
	m = pluginsystem.NewManager(def)
	_, err := m.Reload(t.Context(), "a", map[string]any{})
	wantError(t, err, pluginsystem.ErrNotLoaded)
	old := ok[doer](t)(m.Load(t.Context(), "a", map[string]any{"n": 1}))

	_, err = m.Reload(t.Context(), "a", map[string]any{"n": "bad"})
	wantError(t, err, broken)
	if now, _ := m.Get("a"); now != old {
		t.Error("a failed Reload took the running instance away")
	}
	p, err := m.Reload(t.Context(), "a", map[string]any{"n": 2})
	wantError(t, err, closing)
	if now, _ := m.Get("a"); p == nil || now != p || p.Do() != `{"n":2}` {
		t.Error("the new instance is not there")
	}
	want := []string{`new {"n":1}`, `new {"n":"bad"}`, `new {"n":2}`, `close {"n":1} while {"n":2}`}
	if !slices.Equal(events, want) {
		t.Errorf("it happened %q, want %q", events, want)
	}
}

func TestNewManagerPanics(t *testing.T) {
	for want, defs := range map[string][]pluginsystem.Definition[doer]{
		`definition 2: the name "a" is defined twice`: {define("a"), define("a")},
		`definition 1: a plugin needs a name`:         {define("")},
		`definition 1: the plugin "x" needs a New`:    {{Name: "x"}},
	} {
		if text := panicText(t, func() { pluginsystem.NewManager(defs...) }); !strings.Contains(text, want) {
			t.Errorf("it panicked with %q, want %q", text, want)
		}
	}
}

// apart and together are interfaces that only their tests define plugins for.
type (
	apart    interface{ doer }
	together interface{ doer }
)

var definedNames atomic.Int32 // what is defined stays so, also for the next run of a test

func TestDefine(t *testing.T) {
	name := fmt.Sprint("x", definedNames.Add(1))
	def := pluginsystem.Definition[apart]{Name: name, New: func(context.Context, json.RawMessage) (apart, error) { return &thing{}, nil }}
	_, file, line, _ := runtime.Caller(0)
	pluginsystem.Define(def)
	text := panicText(t, func() {
		pluginsystem.Define(def)
	})
	for _, place := range []int{line + 1, line + 3} {
		if want := fmt.Sprintf("%s:%d", file, place); !strings.Contains(text, want) {
			t.Errorf("the panic %q does not name the place %s", text, want)
		}
	}
	if text := panicText(t, func() { pluginsystem.Define(pluginsystem.Definition[apart]{Name: "y"}) }); !strings.Contains(text, "needs a New") {
		t.Errorf("it panicked with %q", text)
	}
	// Another interface, though it has the same methods, has names of its own.
	pluginsystem.Define(pluginsystem.Definition[together]{Name: name, New: func(context.Context, json.RawMessage) (together, error) { return &thing{}, nil }})
	def.Name = "a" + name
	pluginsystem.Define(def)
	var names []string
	for _, d := range pluginsystem.Defined[apart]() {
		names = append(names, d.Name)
	}
	if !slices.IsSorted(names) || !slices.Contains(names, name) || !slices.Contains(names, def.Name) || slices.Contains(names, "y") {
		t.Errorf("defined: %q", names)
	}
	if m := pluginsystem.NewManager(def); len(ok[[]registry.Info](t)(m.Discover(t.Context()))) != 1 {
		t.Error("NewManager looked at what was defined")
	}
}

type deviceConfig struct {
	Device string `json:"device" jsonschema:"enum=cpu,enum=cuda,default=cpu"`
	Beam   int    `json:"beam,omitempty" jsonschema:"minimum=1"`
}

func TestWithConfig(t *testing.T) {
	var got deviceConfig
	def := pluginsystem.WithConfig(pluginsystem.Definition[doer]{Name: "a"}, func(_ context.Context, c deviceConfig) (doer, error) {
		got = c
		return &thing{}, nil
	})
	m := pluginsystem.NewManager(def)
	ok[doer](t)(m.Load(t.Context(), "a", map[string]any{"beam": 4}))
	if want := (deviceConfig{Device: "cpu", Beam: 4}); got != want {
		t.Errorf("New got %v, want %v", got, want)
	}
	_, err := m.Reload(t.Context(), "a", map[string]any{"device": "tpu"})
	if v, is := errors.AsType[*registry.ValidationError](err); !is || v.Issues[0].Pointer != "/device" {
		t.Errorf("the error is %v", err)
	}

	// With a schema of its own that lets more through than the struct has fields for.
	def.Schema = json.RawMessage(`{}`)
	def = pluginsystem.WithConfig(def, func(_ context.Context, c deviceConfig) (doer, error) { return &thing{}, nil })
	m = pluginsystem.NewManager(def)
	for config, want := range map[string]string{
		`{"gpu":"` + secretText + `"}`:  `the config has the key "gpu", which the Go type pluginsystem_test.deviceConfig has no field for`,
		`{"beam":"` + secretText + `"}`: `at "/beam" there is a JSON string, which does not fit the Go type int`,
	} {
		_, err := m.Load(t.Context(), "a", json.RawMessage(config))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secretText) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
	if text := panicText(t, func() {
		pluginsystem.WithConfig(pluginsystem.Definition[doer]{Name: "a"}, func(context.Context, chan int) (doer, error) { return nil, nil })
	}); !strings.Contains(text, `WithConfig of "a"`) {
		t.Errorf("it panicked with %q", text)
	}
}

func TestLoadConfigured(t *testing.T) {
	def := define("a")
	def.Schema = json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer","default":1},"key":{"type":"string","writeOnly":true}}}`)
	m := pluginsystem.NewManager(def, define("gone"))
	st := memory.New()
	reg := registry.New(st, registry.WithPlaintextSecrets())
	_, err := m.LoadConfigured(t.Context(), reg, "a")
	wantError(t, err, registry.ErrUnknownPlugin)
	ok[registry.Plugins](t)(reg.RegisterManager(t.Context(), "one", m))
	ok[store.Record](t)(reg.SaveConfig(t.Context(), "one_a", map[string]any{"key": "k"}))
	p := ok[doer](t)(m.LoadConfigured(t.Context(), reg, "a"))
	if want := `{"key":"k","n":1}`; p.Do() != want {
		t.Errorf("New got %s, want %s", p.Do(), want)
	}
	if again := ok[doer](t)(m.LoadConfigured(t.Context(), reg, "a")); again != p {
		t.Error("it was made twice")
	}
	ok[store.Record](t)(reg.SaveConfig(t.Context(), "one_a", map[string]any{"n": 2}))
	_, err = m.LoadConfigured(t.Context(), reg, "a")
	wantError(t, err, pluginsystem.ErrLoaded)
	p = ok[doer](t)(m.ReloadConfigured(t.Context(), reg, "a"))
	if want := `{"n":2}`; p.Do() != want {
		t.Errorf("New got %s, want %s", p.Do(), want)
	}
	if _, err := st.Put(t.Context(), "one_a", json.RawMessage(`{"n":"`+secretText+`"}`), store.Any); err != nil { // past the registry
		t.Fatal(err)
	}
	_, err = m.ReloadConfigured(t.Context(), reg, "a")
	if v, is := errors.AsType[*registry.ValidationError](err); !is || v.ID != "one_a" || strings.Contains(err.Error(), secretText) {
		t.Errorf("the error is %v", err)
	}

	ok[registry.Plugins](t)(reg.RegisterManager(t.Context(), "two", m))
	if _, err = m.LoadConfigured(t.Context(), reg, "a"); err == nil || !strings.Contains(err.Error(), `["one_a" "two_a"]`) {
		t.Errorf("the error is %v", err)
	}
}

// migrating is a manager of the application's own around one of this package.
type migrating struct{ *pluginsystem.Manager[doer] }

func (migrating) MigrateConfig(_ context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
	return json.RawMessage(`{"n":3}`), nil
}

func TestEmbedded(t *testing.T) {
	def := define("a")
	def.Schema = json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}}}`)
	m := migrating{pluginsystem.NewManager(def)}
	st := memory.New()
	reg := registry.New(st)
	ok[registry.Plugins](t)(reg.RegisterManager(t.Context(), "one", m))
	if _, err := st.Put(t.Context(), "one_a", json.RawMessage(`{"n":"three"}`), store.Any); err != nil {
		t.Fatal(err)
	}
	if err := reg.Migrate(t.Context(), "one_a"); err != nil {
		t.Fatal(err)
	}
	if p := ok[doer](t)(m.LoadConfigured(t.Context(), reg, "a")); p.Do() != `{"n":3}` {
		t.Errorf("New got %s", p.Do())
	}
	if held := ok[[]pluginsystem.Held](t)(pluginsystem.Resources(t.Context(), reg)); len(held) != 1 {
		t.Errorf("held: %v", held)
	}
}

func TestNotDiscovered(t *testing.T) {
	reason := errors.New("no GPU")
	def := define("a")
	def.Available = func(context.Context) error { return reason }
	m := pluginsystem.NewManager(def, define("b"))
	reg := registry.New(memory.New())
	_, err := reg.RegisterManager(t.Context(), "one", m)
	wantError(t, err, reason)
	_, err = m.LoadConfigured(t.Context(), reg, "a")
	wantError(t, err, reason)
	reason = nil
	_, err = m.LoadConfigured(t.Context(), reg, "a")
	wantError(t, err, registry.ErrUnknownPlugin)
	if !strings.Contains(err.Error(), "refresh its category") {
		t.Errorf("the error is %v", err)
	}
}

// system is an interface with one plugin, which is not available for a reason.
type system interface{ doer }

var systemReason error

func init() {
	pluginsystem.Define(pluginsystem.Definition[system]{Name: "x", Version: "2", Title: "X", Description: "Does x.", ExecutionMode: registry.ModeDocker,
		Available: func(context.Context) error { return systemReason },
		New:       func(context.Context, json.RawMessage) (system, error) { return &thing{}, nil }})
}

func TestRegisterSystem(t *testing.T) {
	reg := registry.New(memory.New())
	reason := errors.New("no GPU")
	systemReason = reason
	plugins, err := pluginsystem.RegisterSystem[system](t.Context(), reg, "doing", registry.WithDisplayName("Doers"))
	wantError(t, err, reason)
	m, found := registry.ManagerAs[*pluginsystem.Manager[system]](reg, "doing")
	if !found || len(plugins) > 0 || reg.DisplayName("doing") != "Doers" {
		t.Fatal("a system without available plugins was not registered")
	}
	systemReason = nil
	if err := reg.Refresh(t.Context(), "doing"); err != nil {
		t.Fatal(err)
	}
	p, _ := reg.Plugin("doing_x")
	if p.Version != "2" || p.Title != "X" || p.Description != "Does x." || p.ExecutionMode != registry.ModeDocker {
		t.Errorf("registered: %+v", p)
	}
	ok[system](t)(m.Load(t.Context(), "x", map[string]any{}))
	_, err = pluginsystem.RegisterSystem[system](t.Context(), reg, "doing")
	wantError(t, err, pluginsystem.ErrInUse)
	if now, _ := registry.ManagerAs[*pluginsystem.Manager[system]](reg, "doing"); now != m {
		t.Error("a system with loaded plugins was replaced")
	}
	if err := m.UnloadAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	plugins, err = pluginsystem.RegisterSystem[system](t.Context(), reg, "doing")
	if err != nil || len(plugins) != 1 || plugins[0].ID() != "doing_x" {
		t.Errorf("registered: %v, %v", plugins, err)
	}
}
