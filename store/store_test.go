package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
	"github.com/pluginregistry/pluginregistry/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plain hides what a store can do beyond store.Store.
type plain struct{ store.Store }

// TestPlainStore: the suite passes for a store that has the four methods and nothing else.
func TestPlainStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return plain{memory.New()} })
}

func TestRecordShowsNoConfig(t *testing.T) {
	rec := store.Record{ID: "a", Config: json.RawMessage(`{"key":"hunter2"}`), Revision: "7"}
	v := store.Version{Record: rec, Configured: true}
	p := store.Put{ID: "a", Config: rec.Config}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("saved", "record", rec, "version", v, "put", p, "records", []store.Record{rec})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("saved", "record", rec, "pointer", &rec)
	for what, text := range map[string]string{
		"%v": fmt.Sprintf("%v", rec), "%+v": fmt.Sprintf("%+v", rec), "%#v": fmt.Sprintf("%#v", rec), "String": rec.String(),
		"pointer": fmt.Sprintf("%v %+v %#v", &rec, &rec, &rec), "list": fmt.Sprintf("%v %#v", []store.Record{rec}, []store.Record{rec}),
		"numbers": strings.ReplaceAll(fmt.Sprintf("%c %c", rec, p), " ", "") + fmt.Sprintf("%d %U %d", rec, rec, p),
		"put":     fmt.Sprintf("%v %+v %#v %v", p, &p, p, []store.Put{p}),
		"version": fmt.Sprintf("%v %+v %#v", v, v, v), "slog": log.String(),
	} {
		// Bytes may be shown as numbers, too.
		if strings.Contains(text, "hunter2") || strings.Contains(text, "104 117 110") || strings.Contains(text, "0x68, 0x75") || strings.Contains(text, "U+0068 U+0075") {
			t.Errorf("%s shows the config: %s", what, text)
		}
		if !strings.Contains(text, "a") {
			t.Errorf("%s does not tell the ID: %s", what, text)
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	rec := store.Record{ID: "llm_gpt", Config: json.RawMessage(`{"port":"hunter2","deep":[{"n":123456}]}`)}
	for _, c := range []struct {
		into any
		says string
	}{
		{new(struct{ Port int }), `"/port"`},
		{new(struct{ Deep []struct{ N string } }), "JSON number"},
		{new([]int), "JSON object"},
		{struct{}{}, "not nil"},
		{nil, "not nil"},
		{new(struct{ Port failing }), "does not fit"},
	} {
		err := rec.Decode(c.into)
		var e *store.Error
		if !errors.As(err, &e) || e.ID != "llm_gpt" || e.Op != "decode" || !strings.Contains(err.Error(), c.says) {
			t.Errorf("decoding into a %T: %v, want %q", c.into, err, c.says)
		}
		if strings.Contains(fmt.Sprintf("%v %+v", err, err), "hunter2") || strings.Contains(err.Error(), "123456") {
			t.Errorf("decoding into a %T shows a value", c.into)
		}
	}
}

type failing struct{}

func (*failing) UnmarshalJSON(b []byte) error { return fmt.Errorf("cannot use %s", b) }

func TestErrorText(t *testing.T) {
	err := &store.Error{Op: "put", ID: "a\nb", Err: &store.ConflictError{Want: "3", Current: "5"}}
	if got, want := err.Error(), `store: put "a\nb": the stored config has changed: it is at revision "5", revision "3" was expected; load it again and redo the change`; got != want {
		t.Errorf("the error says %s\nwant %s", got, want)
	}
	for _, e := range []*store.ConflictError{{Want: store.Absent, Current: "5"}, {Want: "5", Current: store.Absent}} {
		if !errors.Is(e, store.ErrConflict) || !strings.Contains(e.Error(), "none was") && !strings.Contains(e.Error(), "is not there") {
			t.Errorf("%v", e)
		}
	}
}

func TestUnsupported(t *testing.T) {
	s := plain{memory.New()}
	if _, err := store.PutAll(t.Context(), s, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("PutAll: %v", err)
	}
	if _, err := store.History(t.Context(), s, "a", 0); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("History: %v", err)
	}
}

// TestPolledWatch: a store that cannot watch is asked, and sees the same changes.
func TestPolledWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := &breakable{Store: memory.New()}
		s := plain{broken}
		put := func(id, config string) {
			if _, err := s.Put(t.Context(), id, json.RawMessage(config), store.Any); err != nil {
				t.Fatal(err)
			}
		}
		put("before", `{}`)
		put("gone", `{}`)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		changes := store.Watch(ctx, s, time.Second)
		put("b", `{"n":1}`)
		put("a", `{"n":1}`)
		if err := s.Delete(ctx, "gone", store.Any); err != nil {
			t.Fatal(err)
		}
		var seen []string
		for c, err := range changes {
			if err != nil {
				seen = append(seen, err.Error())
				broken.err.Store(nil)
			} else {
				seen = append(seen, fmt.Sprint(c.ID, c.Configured))
			}
			switch len(seen) {
			case 3:
				broken.err.Store(new(errors.New("out of order")))
			case 4:
				put("a", `{"n":2}`)
			case 5:
				cancel()
			}
		}
		want := "atrue btrue gonefalse out of order atrue " + context.Canceled.Error()
		if got := strings.Join(seen, " "); got != want {
			t.Errorf("seen %q, want %q", got, want)
		}
	})
}

// breakable fails as it is told.
type breakable struct {
	store.Store
	err     atomic.Pointer[error] // of Configured
	corrupt map[string]error      // of Get, by ID
	refused map[string]error      // of Put, by ID
	onPut   func(id string)
}

func (b *breakable) Configured(ctx context.Context, prefix string) ([]string, error) {
	if err := b.err.Load(); err != nil {
		return nil, *err
	}
	return b.Store.Configured(ctx, prefix)
}

func (b *breakable) Get(ctx context.Context, id string) (store.Record, error) {
	if err := b.corrupt[id]; err != nil {
		return store.Record{}, &store.Error{Op: "get", ID: id, Err: err}
	}
	return b.Store.Get(ctx, id)
}

func (b *breakable) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	if b.onPut != nil {
		b.onPut(id)
	}
	if err := b.refused[id]; err != nil {
		return store.Record{}, &store.Error{Op: "put", ID: id, Err: err}
	}
	return b.Store.Put(ctx, id, config, match)
}

// TestCopyGoesOn: what cannot be read or saved keeps nothing else from being copied, and each is named.
func TestCopyGoesOn(t *testing.T) {
	src := &breakable{Store: memory.New(), corrupt: map[string]error{"id_3": store.ErrCorrupt, "id_5": errors.New("I/O error")}}
	dst := &breakable{Store: memory.New(), refused: map[string]error{"id_0": errors.New("disk full")}}
	for n := range 8 {
		if _, err := src.Put(t.Context(), fmt.Sprint("id_", n), json.RawMessage(`{"n":1}`), store.Any); err != nil {
			t.Fatal(err)
		}
	}
	n, err := store.Copy(t.Context(), dst, src)
	if n != 5 || !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Copy: %d, %v", n, err)
	}
	for _, says := range []string{"3 of 8", `"id_0"`, "disk full", `"id_3"`, `"id_5"`, "I/O error"} {
		if !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("the error does not say %s: %v", says, err)
		}
	}
	if ids, _ := dst.Configured(t.Context(), ""); strings.Join(ids, " ") != "id_1 id_2 id_4 id_6 id_7" {
		t.Errorf("%q are copied", ids)
	}
	src.corrupt, dst.refused = nil, nil
	if n, err := store.Copy(t.Context(), dst, src); n != 8 || err != nil {
		t.Errorf("Copy again: %d, %v", n, err)
	}
}

// TestCopyStops: a copy ends when its context does or a store is closed, says how far it came and what failed before.
func TestCopyStops(t *testing.T) {
	src := &breakable{Store: memory.New(), corrupt: map[string]error{"id_1": store.ErrCorrupt, "id_3": store.ErrClosed}}
	for n := range 6 {
		if _, err := src.Put(t.Context(), fmt.Sprint("id_", n), json.RawMessage(`{}`), store.Any); err != nil {
			t.Fatal(err)
		}
	}
	n, err := store.Copy(t.Context(), memory.New(), src)
	if n != 2 || !errors.Is(err, store.ErrClosed) || !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), "2 of 6") || strings.Contains(err.Error(), "id_4") {
		t.Errorf("Copy from a store that is closed in the middle: %d, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	src.corrupt = nil
	dst := &breakable{Store: memory.New(), onPut: func(id string) {
		if id == "id_2" {
			cancel()
		}
	}}
	if n, err := store.Copy(ctx, dst, src); n != 2 || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "2 of 6") {
		t.Errorf("Copy under a context that ends in the middle: %d, %v", n, err)
	}
	if n, err := store.Copy(ctx, dst, src); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("Copy under a done context: %d, %v", n, err)
	}
}

func TestCheckNote(t *testing.T) {
	for title, ok := range map[string]bool{
		"": true, "Work account": true, strings.Repeat("é", store.MaxTitle/2): true,
		strings.Repeat("é", store.MaxTitle/2) + "x": false, "a\x00b": false, "a\xffb": false,
	} {
		if err := store.CheckNote(store.Note{Title: title}); (err == nil) != ok || !ok && !errors.Is(err, store.ErrInvalidNote) {
			t.Errorf("CheckNote of %.20q: %v", title, err)
		}
	}
}

func TestCanonical(t *testing.T) {
	for _, c := range [][2]string{{` {"a" : 1.0 } `, `{"a":1.0}`}, {`{"b":{"\u0061":[]}}`, `{"b":{"a":[]}}`}} {
		if got, err := store.Canonical(json.RawMessage(c[0])); err != nil || string(got) != c[1] {
			t.Errorf("Canonical(%s) is %s, %v", c[0], got, err)
		}
	}
	_, err := store.Canonical(json.RawMessage(`{"a":{"b/c":[1,"hunter2\ud800"]}}`))
	if !errors.Is(err, store.ErrInvalidConfig) || !strings.Contains(err.Error(), `"/a/b~1c/1"`) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error says %v", err)
	}
}
