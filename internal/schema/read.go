package schema

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
)

// reader makes nodes of a schema's text. It knows which places of the text are schemas, so that a property named like a keyword
// and the contents of "const", "enum" and "default" are left alone.
type reader struct {
	doc       *jsontext.Value
	draft     int
	notes     notes
	patterns  patterns
	nodes     []*node // in the order of the text, parents first
	byPtr     map[string]*node
	resources map[string]*resource
	verbatim  bool // there is a reference that only the validator can follow
	extends   bool // there is an anchor that changes what metaschemas refer to
	names     bool // there are propertyNames
	bare      bool // the text is a bare map of properties
	spread    int
}

var errTooMany = fmt.Errorf("the schema has over %d sub-schemas", maxNodes)

func newReader(doc *jsontext.Value) *reader {
	r := &reader{doc: doc, draft: 7, resources: map[string]*resource{}}
	if s := doc.Member("$schema"); s != nil && s.Kind == jsontext.String {
		r.draft = draftOf(s.Text)
	}
	return r
}

// read reads the whole schema.
func (r *reader) read() (*node, error) {
	doc := r.doc
	if isBareMap(doc) {
		r.bare = true
		doc = asProperties(doc)
	}
	root, err := r.schema(doc, "", 1, nil)
	if err != nil {
		return nil, err
	}
	// A reference may lead to a place that is no schema by its position: reading it adds nodes.
	for i := 0; i < len(r.nodes); i++ {
		if err := r.resolve(r.nodes[i]); err != nil {
			return nil, err
		}
	}
	r.cutLoops()
	r.raiseRequired()
	r.loosen()
	return root, nil
}

func (r *reader) note(n *node, ptr, reason string) {
	r.notes.add(ptr, reason)
	n.loose = true
}

// schema reads the schema at ptr.
func (r *reader) schema(v *jsontext.Value, ptr string, depth int, res *resource) (*node, error) {
	if len(r.nodes) >= maxNodes {
		return nil, errTooMany
	}
	n := &node{ptr: ptr, depth: depth, res: res, fixed: v.Kind, allow: true}
	r.nodes = append(r.nodes, n)
	r.spread += depth * depth
	switch v.Kind {
	case jsontext.Object:
		return n, r.object(n, v)
	case jsontext.Bool:
		n.allow = v.Text == "true"
	case jsontext.String:
		n.fixed = jsontext.Object
		r.typeWords(n, ptr, v)
	default:
		n.fixed = jsontext.Bool
		r.note(n, ptr, "a schema is needed, this is "+kindName(v.Kind))
	}
	if n.fixed == jsontext.Bool && ptr == "" {
		return nil, errors.New("the schema must be a JSON object")
	}
	return n, nil
}

func (r *reader) object(n *node, v *jsontext.Value) error {
	r.identify(n, v)
	for _, m := range v.Members {
		at := n.ptr + "/" + jsontext.EscapeToken(m.Name)
		switch m.Name {
		case "writeOnly", "x-secret", "airbyte_secret":
			n.secret = n.secret || truthy(m.Value)
		case "format":
			n.secret = n.secret || m.Value.Kind == jsontext.String && strings.EqualFold(m.Value.Text, "password")
		case "default":
			n.def = m.Value.Clone() // lest it keep the whole document in memory
		}
		kw, ok := keywords[m.Name]
		if !ok || kw.since == 0 || !kw.in(r.draft) && !used(kw, m) {
			continue
		}
		var err error
		switch kw.form {
		case formSchema:
			err = r.kid(n, kid{keyword: m.Name, role: kw.role, form: formSchema}, m.Value, at, 1)
		case formSchemas:
			err = r.schemas(n, m.Name, kw.role, m.Value, at)
		case formItems:
			if m.Value.Kind != jsontext.Array {
				err = r.kid(n, kid{keyword: m.Name, role: roleItems, form: formSchema}, m.Value, at, 1)
				break
			}
			if r.draft >= 2020 {
				r.note(n, at, "one schema is needed, this is an array")
				n.open = true
			}
			err = r.schemas(n, m.Name, roleItem, m.Value, at)
		case formSchemaMap:
			err = r.schemaMap(n, m.Name, kw.role, m.Value, at)
		case formDeps:
			err = r.dependencies(n, m.Name, m.Value, at)
		case formRef:
			r.reference(n, kw, m.Name, m.Value, at)
		default:
			if kw.in(r.draft) || m.Name == "required" {
				r.value(n, kw.form, m.Name, m.Value, at)
			}
		}
		if err != nil {
			return err
		}
	}
	r.exclusive(n)
	n.sort(r.draft)
	return nil
}

// kid reads a sub-schema of n.
func (r *reader) kid(n *node, k kid, v *jsontext.Value, at string, levels int) error {
	sub, err := r.schema(v, at, n.depth+levels, n.res)
	if err != nil {
		return err
	}
	k.n = sub
	n.kids = append(n.kids, k)
	if k.role == roleNames {
		r.names = true
	}
	return nil
}

func (r *reader) schemas(n *node, name string, as role, v *jsontext.Value, at string) error {
	if v.Kind != jsontext.Array || len(v.Items) == 0 && name != "items" {
		r.note(n, at, "an array of schemas is needed")
		n.open = true
		return nil
	}
	for i, item := range v.Items {
		k := kid{keyword: name, role: as, form: formSchemas, index: i}
		if err := r.kid(n, k, item, at+"/"+strconv.Itoa(i), 2); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) schemaMap(n *node, name string, as role, v *jsontext.Value, at string) error {
	if v.Kind != jsontext.Object {
		r.note(n, at, "an object of schemas is needed, this is "+kindName(v.Kind))
		n.open = true
		return nil
	}
	if r.bare && n.ptr == "" {
		at = "" // where they stand in the text
	}
	for _, m := range v.Members {
		at := at + "/" + jsontext.EscapeToken(m.Name)
		k := kid{keyword: name, role: as, form: formSchemaMap, name: m.Name}
		if as == rolePattern {
			p, err := r.patterns.compile(m.Name)
			if err != nil {
				r.note(n, at, err.Error())
				n.open = true
			}
			k.pattern = p
		}
		if err := r.kid(n, k, m.Value, at, 2); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) dependencies(n *node, name string, v *jsontext.Value, at string) error {
	if v.Kind != jsontext.Object {
		r.note(n, at, "an object is needed, this is "+kindName(v.Kind))
		return nil
	}
	arrays := map[string]any{}
	for _, m := range v.Members {
		at := at + "/" + jsontext.EscapeToken(m.Name)
		switch m.Value.Kind {
		case jsontext.Array:
			arrays[m.Name] = r.stringList(n, m.Value, at)
		case jsontext.String: // one name, as draft-03 had it
			arrays[m.Name] = []any{m.Value.Text}
		default:
			k := kid{keyword: name, role: roleBranch, form: formSchemaMap, name: m.Name}
			if err := r.kid(n, k, m.Value, at, 2); err != nil {
				return err
			}
		}
	}
	if len(arrays) > 0 {
		n.set(name, arrays)
	}
	return nil
}

func (n *node) set(name string, v any) {
	if n.plain == nil {
		n.plain = map[string]any{}
	}
	n.plain[name] = v
}

// isBareMap tells whether a whole schema is but a map of properties: no keyword is used as one, and there is a member that is
// no keyword and looks like the schema of a property.
func isBareMap(doc *jsontext.Value) bool {
	found := false
	for _, m := range doc.Members {
		kw, ok := keywords[m.Name]
		switch {
		case ok && used(kw, m):
			if kw.since != 0 {
				return false
			}
		case strings.HasPrefix(m.Name, "$") && !ok, strings.HasPrefix(m.Name, "x-"):
		default:
			found = found || looksLikeSchema(m.Value)
		}
	}
	return found
}

// used tells whether a member with the name of a keyword has a value such as that keyword has.
func used(kw keyword, m jsontext.Member) bool {
	kind := m.Value.Kind
	switch kw.form {
	case formText, formRef, formPattern:
		return kind == jsontext.String
	case formFlag, formBool:
		return kind == jsontext.Bool
	case formAnnotation:
		return !looksLikeSchema(m.Value)
	case formSchema:
		return kind == jsontext.Object || kind == jsontext.Bool
	case formSchemas, formEnum:
		return kind == jsontext.Array
	case formRequired:
		return kind == jsontext.Array || kind == jsontext.Bool
	case formSchemaMap, formDeps, formNameMap:
		return kind == jsontext.Object
	case formItems:
		return kind == jsontext.Object || kind == jsontext.Array || kind == jsontext.Bool
	case formType:
		return kind == jsontext.String || kind == jsontext.Array
	case formNumber, formPositive, formCount:
		return kind == jsontext.Number
	case formExclusive:
		return kind == jsontext.Number || kind == jsontext.Bool
	}
	return true
}

// looksLikeSchema tells whether v is the name of a type or an object with a keyword used as one.
func looksLikeSchema(v *jsontext.Value) bool {
	switch v.Kind {
	case jsontext.String:
		words, known := splitTypes(v.Text)
		return known && len(words) > 0
	case jsontext.Object:
		return slices.ContainsFunc(v.Members, func(m jsontext.Member) bool {
			kw, ok := keywords[m.Name]
			if !ok {
				return m.Name == "x-secret" || m.Name == "airbyte_secret"
			}
			if kw.form == formAnnotation || kw.form == formConst {
				return m.Name == "default"
			}
			return used(kw, m)
		})
	}
	return false
}

// asProperties writes a bare map as the schema it stands for.
func asProperties(doc *jsontext.Value) *jsontext.Value {
	props := &jsontext.Value{Kind: jsontext.Object}
	out := &jsontext.Value{Kind: jsontext.Object}
	for _, m := range doc.Members {
		if kw, ok := keywords[m.Name]; ok && used(kw, m) || strings.HasPrefix(m.Name, "$") && !ok && m.Value.Kind != jsontext.Object {
			out.Members = append(out.Members, m)
		} else {
			props.Members = append(props.Members, m)
		}
	}
	out.Members = append(out.Members, jsontext.Member{Name: "properties", Value: props})
	return out
}

// raiseRequired reads "required": true of a property, the way of draft-03, as the parent's "required".
func (r *reader) raiseRequired() {
	for _, n := range r.nodes {
		var list []any
		for _, k := range n.kids {
			if k.role == roleProperty && k.n.isRequired() {
				list = append(list, k.name)
			}
		}
		if list == nil {
			continue
		}
		have, _ := n.plain["required"].([]any)
		seen := make(map[any]bool, len(have))
		for _, name := range have {
			seen[name] = true
		}
		for _, name := range list {
			if !seen[name] {
				have = append(have, name)
			}
		}
		n.set("required", have)
	}
}

// isRequired tells whether a property says "required": true itself or by the definition it refers to.
func (n *node) isRequired() bool {
	for range maxInPlace {
		if n.required {
			return true
		}
		if len(n.refs) != 1 || len(n.refs[0].to) != 1 {
			return false
		}
		n = n.refs[0].to[0]
	}
	return false
}

// loosen tells every schema that uses one which is not wholly enforced, and leaves out what such a one would turn into its
// opposite: under "not", a schema that allows more refuses more.
func (r *reader) loosen() {
	users := map[*node][]*node{}
	queue := make([]*node, 0)
	for _, n := range r.nodes {
		if n.loose {
			queue = append(queue, n)
		}
	}
	if len(queue) == 0 {
		return
	}
	for _, n := range r.nodes {
		for _, k := range n.kids {
			if k.role != roleNone && keywords[k.keyword].in(r.draft) {
				users[k.n] = append(users[k.n], n)
			}
		}
		for _, ref := range n.refs {
			for _, to := range ref.to {
				users[to] = append(users[to], n)
			}
		}
	}
	spread(queue, users, func(n *node) *bool { return &n.loose })
}

// markReach sets a mark on every node from which one that is wanted can be reached.
func (r *reader) markReach(wanted func(*node) bool, mark func(*node) *bool) {
	var queue []*node
	for _, n := range r.nodes {
		if wanted(n) {
			*mark(n) = true
			queue = append(queue, n)
		}
	}
	if len(queue) == 0 {
		return
	}
	users := map[*node][]*node{}
	for _, n := range r.nodes {
		for _, k := range n.kids {
			if k.role != roleNone && k.role != roleNot && k.role != roleNames {
				users[k.n] = append(users[k.n], n)
			}
		}
		for _, ref := range n.refs {
			for _, to := range ref.to {
				users[to] = append(users[to], n)
			}
		}
	}
	spread(queue, users, mark)
}

// spread marks all that use one of the queue, directly or through others.
func spread(queue []*node, users map[*node][]*node, mark func(*node) *bool) {
	for len(queue) > 0 {
		n := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, user := range users[n] {
			if !*mark(user) {
				*mark(user) = true
				queue = append(queue, user)
			}
		}
	}
}
