package settings

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/registry"
)

// edit is what came of a POST.
type edit struct {
	doc      *jsontext.Value
	issues   []registry.Issue  // what the form itself cannot take; the registry has not seen it
	raw      map[string]string // what was typed at such places
	taken    []string          // what a switch of the form took out
	dropped  map[*jsontext.Value]bool
	renamed  map[*jsontext.Value]string
	switched bool
}

// apply changes f.doc by what values say differently from what f shows. Nothing else is touched.
func (f *form) apply(values url.Values) *edit {
	e := &edit{doc: f.doc, raw: map[string]string{}, dropped: map[*jsontext.Value]bool{}, renamed: f.renamed}
	f.all(func(x *field) { e.value(x, values) })
	f.all(func(x *field) { e.rename(x, values) })
	f.all(func(x *field) {
		if form, ok := posted(values, "o:"+x.Pointer); ok && x.Branch != nil && form != x.Shown {
			e.use(x, form)
		}
	})
	if op, ok := posted(values, "op"); ok {
		verb, at, _ := strings.Cut(op, ":")
		if x := f.byPlace[at]; x != nil {
			e.operate(verb, x)
		}
	}
	return e
}

func posted(values url.Values, name string) (string, bool) {
	v, ok := values[name]
	if !ok || len(v) == 0 {
		return "", false
	}
	return v[0], true
}

// asPosted is what a browser sends back for a text that it was given.
func asPosted(x *field, s string) string {
	s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	if x.Lines {
		return strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	}
	if x.Kind == kindEnum || x.Kind == kindBoolean {
		return s
	}
	s = strings.NewReplacer("\r", "", "\n", "").Replace(s)
	if x.Type == "email" || x.Type == "url" {
		s = strings.Trim(s, " \t\n\f\r")
	}
	return s
}

// value applies the control of one field.
func (e *edit) value(x *field, values url.Values) {
	if null, was := values.Has("n:"+x.Pointer), x.IsNull && x.Nullable; x.Nullable && values.Has("has:n:"+x.Pointer) && null != was {
		if null {
			x.set(&jsontext.Value{Kind: jsontext.Null})
			return
		}
		if text, _ := posted(values, "v:"+x.Pointer); strings.TrimSpace(text) == "" {
			x.remove(e)
			return
		}
	}
	if x.Kind == kindSecret && values.Has("c:"+x.Pointer) {
		x.remove(e)
		return
	}
	text, ok := posted(values, "v:"+x.Pointer)
	if !ok || asPosted(x, text) == asPosted(x, x.Shown) {
		return
	}
	text = asPosted(x, text)
	switch x.Kind {
	case kindSecret:
		e.secret(x, text)
	case kindBoolean, kindEnum, kindJSON:
		if strings.TrimSpace(text) == "" && x.parent != nil {
			x.remove(e)
			return
		}
		v, err := jsontext.Parse([]byte(text))
		if err != nil {
			e.raw[x.Pointer] = text
			e.issues = append(e.issues, registry.Issue{Pointer: x.Pointer, Keyword: "json", Message: badJSON(text, err)})
			return
		}
		if x.parent == nil && v.Kind != jsontext.Object {
			e.raw[x.Pointer] = text
			e.issues = append(e.issues, registry.Issue{Keyword: "json", Message: "must be a JSON object: begin it with { and end it with }"})
			return
		}
		x.set(v)
	case kindNumber:
		text = strings.TrimSpace(text)
		if text == "" {
			x.remove(e)
			return
		}
		x.set(number(text))
	case kindString:
		if text == "" {
			x.remove(e)
			return
		}
		if strings.Contains(x.Shown, "\r\n") {
			text = strings.ReplaceAll(text, "\n", "\r\n")
		}
		x.set(&jsontext.Value{Kind: jsontext.String, Text: text})
	}
}

// number keeps the digits that were typed. What is no number stays a string, so that the schema says what is wrong with it.
func number(text string) *jsontext.Value {
	if v, err := jsontext.Parse([]byte(text)); err == nil && v.Kind == jsontext.Number {
		return v
	}
	return &jsontext.Value{Kind: jsontext.String, Text: text}
}

func (e *edit) secret(x *field, text string) {
	switch {
	case text == "":
	case x.secretJSON:
		v, err := jsontext.Parse([]byte(text))
		if err != nil {
			e.issues = append(e.issues, registry.Issue{Pointer: x.Pointer, Keyword: "json", Message: badJSON(text, err) + "; type it again"})
			return
		}
		x.set(v)
	case x.spec.text("type") == "number" || x.spec.text("type") == "integer":
		x.set(number(strings.TrimSpace(text)))
	default:
		x.set(&jsontext.Value{Kind: jsontext.String, Text: text})
	}
}

// badJSON tells where a text stops being JSON, without any part of it.
func badJSON(text string, err error) string {
	bad, ok := err.(*jsontext.Error)
	if !ok {
		return "is not valid JSON"
	}
	offset := min(bad.Offset, len(text))
	line := 1 + strings.Count(text[:offset], "\n")
	column := 1 + len([]rune(text[strings.LastIndexByte(text[:offset], '\n')+1:offset]))
	return "is not valid JSON: " + bad.Reason + ", line " + strconv.Itoa(line) + ", column " + strconv.Itoa(column)
}

// set puts a value where the field is, and makes the objects around it that are not there yet.
func (x *field) set(v *jsontext.Value) {
	if x.Value != nil {
		delete(x.form.blank, x.Value)
	}
	for p := x.parent; p != nil; p = p.parent {
		if p.Value != nil {
			delete(x.form.blank, p.Value)
		}
	}
	x.put(v)
}

func (x *field) put(v *jsontext.Value) {
	if x.Value != nil {
		*x.Value = *v // whoever holds the place holds the new value
		return
	}
	x.Value = v
	if x.parent == nil {
		return
	}
	p := x.parent
	if p.Value == nil || p.Value.Kind != jsontext.Object {
		p.put(&jsontext.Value{Kind: jsontext.Object})
	}
	if m := p.Value.Member(x.Name); m != nil {
		*m = *v
		x.Value = m
		return
	}
	p.Value.Members = append(p.Value.Members, jsontext.Member{Name: x.Name, Value: v})
}

// remove takes out what is there. An item of a list goes when all is done, so that the others keep their places until then.
func (x *field) remove(e *edit) {
	switch {
	case x.Value == nil || x.parent == nil || x.parent.Value == nil:
	case x.Item:
		e.dropped[x.Value] = true
	default:
		drop(x.parent.Value, x.Name)
		x.Value = nil
	}
}

func drop(object *jsontext.Value, name string) {
	object.Members = slices.DeleteFunc(object.Members, func(m jsontext.Member) bool { return m.Name == name })
}

// rename changes the key of a map's entry.
func (e *edit) rename(x *field, values url.Values) {
	key, ok := posted(values, "k:"+x.Pointer)
	if !ok || !x.Entry || x.Value == nil || key == asPosted(&field{}, x.EntryKey) {
		return
	}
	in := x.parent.Value
	switch taken := in.Member(key); {
	case key == "":
		e.issues = append(e.issues, registry.Issue{Pointer: x.Pointer, Keyword: "key", Message: "needs a name"})
		e.renamed[x.Value] = key
	case taken != nil && taken != x.Value:
		e.issues = append(e.issues, registry.Issue{Pointer: x.Pointer, Keyword: "key", Message: "has a name that another entry has: " + strconv.Quote(key)})
		e.renamed[x.Value] = key
	default:
		for i := range in.Members {
			if in.Members[i].Value == x.Value {
				in.Members[i].Name = key
			}
		}
		x.Name = key
		delete(x.form.blank, x.Value)
		delete(e.renamed, x.Value)
	}
}

// use switches an object to another of its forms: what both know stays, what only the old one knows goes.
func (e *edit) use(x *field, value string) {
	e.switched = true
	known := map[string]bool{x.Branch.name: true}
	var chosen, old *branch
	for i := range x.Branch.forms {
		b := &x.Branch.forms[i]
		switch string(b.value.Append(nil)) {
		case value:
			chosen = b
		case x.Shown:
			old = b
		}
	}
	if chosen != nil {
		for _, p := range chosen.spec.properties {
			known[p.name] = true
		}
	}
	for _, p := range x.spec.properties {
		known[p.name] = true
	}
	if old != nil && x.Value != nil {
		for _, p := range old.spec.properties {
			if !known[p.name] && x.Value.Member(p.name) != nil {
				e.taken = append(e.taken, p.name)
				drop(x.Value, p.name)
			}
		}
	}
	at := &field{form: x.form, parent: x, Name: x.Branch.name}
	if x.Value != nil {
		at.Value = x.Value.Member(x.Branch.name)
	}
	if chosen == nil {
		at.remove(e)
		return
	}
	at.set(chosen.value.Clone())
}

// operate does what a button of a list, a map or an object says.
func (e *edit) operate(verb string, x *field) {
	blank := func(s *spec) *jsontext.Value {
		v := &jsontext.Value{Kind: jsontext.Null}
		if x.form.schema != nil {
			switch x.form.schema.kind(s) {
			case kindObject, kindMap, kindBranch:
				v.Kind = jsontext.Object
			case kindList:
				v.Kind = jsontext.Array
			}
		}
		x.form.blank[v] = true
		return v
	}
	switch {
	case verb == "add" && x.Kind == kindList:
		if x.Value == nil || x.Value.Kind != jsontext.Array {
			x.put(&jsontext.Value{Kind: jsontext.Array})
		}
		x.Value.Items = append(x.Value.Items, blank(x.form.schema.spec(x.spec.words["items"])))
	case verb == "add" && (x.Kind == kindMap || x.Kind == kindBranch):
		if x.Value == nil || x.Value.Kind != jsontext.Object {
			x.put(&jsontext.Value{Kind: jsontext.Object})
		}
		key := ""
		for n := 1; x.Value.Member(key) != nil; n++ {
			key = "new " + strconv.Itoa(n)
		}
		x.Value.Members = append(x.Value.Members, jsontext.Member{Name: key, Value: blank(x.form.schema.spec(x.spec.entries()))})
	case verb == "remove" && x.Item:
		e.dropped[x.Value] = true
	case verb == "remove":
		x.remove(e)
	case verb == "up" && x.Item && x.Index > 0:
		swap(x, x.Index-1)
	case verb == "down" && x.Item && x.Index < x.Last:
		swap(x, x.Index+1)
	}
}

func swap(x *field, other int) {
	items := x.parent.Value.Items
	items[x.Index], items[other] = items[other], items[x.Index]
}

// finish takes out the items that were emptied or removed, and, before a save, those that nobody has filled in.
func (e *edit) finish(f *form, saving bool) {
	gone := func(v *jsontext.Value) bool { return e.dropped[v] || saving && f.blank[v] }
	for _, v := range e.doc.All() {
		v.Items = slices.DeleteFunc(v.Items, gone)
		v.Members = slices.DeleteFunc(v.Members, func(m jsontext.Member) bool { return gone(m.Value) })
	}
}

// blanks are the places of the items that nobody has filled in yet.
func blanks(doc *jsontext.Value, blank map[*jsontext.Value]bool) []string {
	var places []string
	for at, v := range doc.All() {
		if blank[v] {
			places = append(places, at.Pointer())
		}
	}
	return places
}

// merge lays what mine changed against base on top of theirs. both gets the places that both have changed, with what is there in theirs.
func merge(base, mine, theirs *jsontext.Value, at string, both map[string]*jsontext.Value) *jsontext.Value {
	switch {
	case same(mine, base):
		return theirs
	case same(theirs, base):
		return remasked(base, mine, theirs)
	case same(mine, theirs):
		return theirs
	case isKind(mine, jsontext.Object) && isKind(theirs, jsontext.Object):
		merged := &jsontext.Value{Kind: jsontext.Object}
		for _, m := range theirs.Members {
			if v := merge(base.Member(m.Name), mine.Member(m.Name), m.Value, at+"/"+jsontext.EscapeToken(m.Name), both); v != nil {
				merged.Members = append(merged.Members, jsontext.Member{Name: m.Name, Value: v})
			}
		}
		for _, m := range mine.Members {
			if theirs.Member(m.Name) == nil {
				if v := merge(base.Member(m.Name), m.Value, nil, at+"/"+jsontext.EscapeToken(m.Name), both); v != nil {
					merged.Members = append(merged.Members, jsontext.Member{Name: m.Name, Value: v})
				}
			}
		}
		return merged
	case isKind(base, jsontext.Array) && isKind(mine, jsontext.Array) && isKind(theirs, jsontext.Array) &&
		len(base.Items) == len(mine.Items) && len(base.Items) == len(theirs.Items):
		merged := &jsontext.Value{Kind: jsontext.Array}
		for i := range base.Items {
			if v := merge(base.Items[i], mine.Items[i], theirs.Items[i], at+"/"+strconv.Itoa(i), both); v != nil {
				merged.Items = append(merged.Items, v)
			}
		}
		return merged
	}
	both[at] = theirs
	return remasked(base, mine, theirs)
}

func isKind(v *jsontext.Value, k jsontext.Kind) bool { return v != nil && v.Kind == k }

// same is equal by text and order of nothing; what stands for a secret is the same wherever it was taken from.
func same(a, b *jsontext.Value) bool {
	if a == nil || b == nil {
		return a == b
	}
	if hidden(a) && hidden(b) && !isTyped(a) && !isTyped(b) {
		return true
	}
	if a.Kind != b.Kind || a.Text != b.Text || len(a.Items) != len(b.Items) || len(a.Members) != len(b.Members) {
		return false
	}
	for i := range a.Items {
		if !same(a.Items[i], b.Items[i]) {
			return false
		}
	}
	for _, m := range a.Members {
		if !same(m.Value, b.Member(m.Name)) {
			return false
		}
	}
	return true
}

// remasked returns mine with the masks of theirs in the place of those of base: a mask in a list names the revision it was taken at. A mask
// whose item is no longer to be found is taken out, so that the secret is asked for again, and never becomes another item's.
func remasked(base, mine, theirs *jsontext.Value) *jsontext.Value {
	if mine == nil {
		return nil
	}
	to := map[string]string{}
	var pair func(b, t *jsontext.Value)
	pair = func(b, t *jsontext.Value) {
		switch {
		case b == nil || t == nil:
		case hidden(b) && hidden(t):
			to[b.Text] = t.Text
		case b.Kind == jsontext.Object && t.Kind == jsontext.Object:
			for _, m := range b.Members {
				pair(m.Value, t.Member(m.Name))
			}
		case b.Kind == jsontext.Array && t.Kind == jsontext.Array:
			for _, item := range b.Items {
				if i := slices.IndexFunc(t.Items, func(other *jsontext.Value) bool { return same(item, other) }); i >= 0 && alone(b.Items, item) && alone(t.Items, t.Items[i]) {
					pair(item, t.Items[i])
				} else if same(b, t) {
					for i := range b.Items {
						pair(b.Items[i], t.Items[i])
					}
				}
			}
		}
	}
	pair(base, theirs)
	c := mine.Clone()
	for _, v := range c.All() {
		fix := func(v *jsontext.Value) (gone bool) {
			if v.Text == registry.Redacted || !hidden(v) || isTyped(v) {
				return false
			}
			text, ok := to[v.Text]
			if ok {
				v.Text = text
			}
			return !ok
		}
		v.Items = slices.DeleteFunc(v.Items, fix)
		v.Members = slices.DeleteFunc(v.Members, func(m jsontext.Member) bool { return fix(m.Value) })
	}
	return c
}

// alone tells whether no other item says the same.
func alone(items []*jsontext.Value, item *jsontext.Value) bool {
	n := 0
	for _, other := range items {
		if same(item, other) {
			n++
		}
	}
	return n == 1
}
