package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/pluginregistry/pluginregistry/store"
)

// Instance is one of several configs of a plugin, beside the plugin's own.
type Instance struct {
	ID         string `json:"id"`   // the config ID
	Name       string `json:"name"` // what follows the @ in it
	Title      string `json:"title,omitempty"`
	Configured bool   `json:"configured"`
	Disabled   bool   `json:"disabled,omitempty"`
}

// Instances returns the instances of a plugin that have a config or a note, sorted by ID. The plugin's own config is not among them. Errors:
// ErrUnknownPlugin, or what the store says.
func (r *Registry) Instances(ctx context.Context, pluginID string) ([]Instance, error) {
	instances, err := r.instances(ctx, pluginID)
	return instances, failed("instances", pluginID, err)
}

func (r *Registry) instances(ctx context.Context, pluginID string) ([]Instance, error) {
	if o := r.owner(pluginID); !o.known() || o.instance != "" {
		return nil, ErrUnknownPlugin
	}
	found := map[string]*Instance{}
	instance := func(id string) *Instance {
		of, name, ok := r.SplitConfigID(id)
		if !ok || of != pluginID || name == "" {
			return new(Instance)
		}
		if found[id] == nil {
			found[id] = &Instance{ID: id, Name: name}
		}
		return found[id]
	}
	stored, err := r.configs().Configured(ctx, pluginID+"@")
	if err != nil {
		return nil, err
	}
	for _, id := range stored {
		instance(id).Configured = true
	}
	if a, ok := r.st.(store.Annotator); ok {
		notes, err := a.Notes(ctx, pluginID+"@")
		if err != nil {
			return nil, err
		}
		for id, note := range notes {
			i := instance(id)
			i.Title, i.Disabled = note.Title, note.Disabled
		}
	}
	var list []Instance
	for _, id := range sorted(found) {
		list = append(list, *found[id])
	}
	return list, nil
}

// SetNote has edit change the note of a config ID and saves it; if somebody else saves meanwhile, it does so again, so edit may be called
// several times. The ID need not have a config. edit's error ends it and is the cause of the error returned.
//
// Errors: ErrUnknownPlugin, errors.ErrUnsupported if the store is no store.Annotator, store.ErrInvalidNote, or what the store says.
func (r *Registry) SetNote(ctx context.Context, id string, edit func(*store.Note) error) error {
	return failed("set note", id, r.setNote(ctx, id, edit))
}

func (r *Registry) setNote(ctx context.Context, id string, edit func(*store.Note) error) error {
	if !r.owner(id).known() {
		return ErrUnknownPlugin
	}
	a, ok := r.configs().(store.Annotator)
	if !ok {
		return fmt.Errorf("%w: %T keeps no notes", errors.ErrUnsupported, r.st)
	}
	for try := 0; ; try++ {
		rec, err := r.get(ctx, id)
		if errors.Is(err, store.ErrCorrupt) { // its note can be changed all the same
			rec.Revision, err = store.Any, nil
		}
		if err != nil {
			return err
		}
		note, err := a.Note(ctx, id)
		if err == nil {
			err = edit(&note)
		}
		if err != nil {
			return err
		}
		err = r.writing(ctx, setting(disabled, note.Disabled), func() error {
			_, err := a.SetNote(ctx, id, note, rec.Revision)
			return err
		}, id)
		if err == nil || !errors.Is(err, store.ErrConflict) {
			return err
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// Orphans returns the stored config IDs that belong to no registered plugin, sorted.
func (r *Registry) Orphans(ctx context.Context) ([]string, error) {
	stored, err := r.configs().Configured(ctx, "")
	if err != nil {
		return nil, failed("orphans", "", err)
	}
	var orphans []string
	for _, id := range stored {
		if !r.owner(id).known() {
			orphans = append(orphans, id)
		}
	}
	return orphans, nil
}
