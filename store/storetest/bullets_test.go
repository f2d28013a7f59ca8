package storetest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// TestBullets: each promise in the doc of store.Store has checks that quote it, and each check that is named exists.
func TestBullets(t *testing.T) {
	documented := docBullets(t)
	if len(documented) < 8 {
		t.Fatalf("only %d bullets found in the doc of store.Store: %q", len(documented), documented)
	}
	for _, bullet := range documented {
		if len(bullets[bullet]) == 0 {
			t.Errorf("no check quotes %q", bullet)
		}
	}
	var names []string
	for _, c := range cases {
		names = append(names, c.name)
	}
	for _, c := range sharedCases {
		names = append(names, c.name)
	}
	for _, c := range damagedCases {
		names = append(names, c.name)
	}
	for _, c := range processCases {
		names = append(names, c.name)
	}
	for bullet, checks := range bullets {
		if !slices.Contains(documented, bullet) {
			t.Errorf("the doc of store.Store does not say %q", bullet)
		}
		for _, name := range checks {
			if !slices.Contains(names, name) {
				t.Errorf("there is no check %q, which should hold a store to %q", name, bullet)
			}
		}
	}
	if sorted := slices.Sorted(slices.Values(names)); len(slices.Compact(sorted)) != len(names) {
		t.Errorf("two checks have one name: %q", sorted)
	}
}

func docBullets(t *testing.T) (bullets []string) {
	file, err := parser.ParseFile(token.NewFileSet(), "../store.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range file.Decls {
		g, ok := decl.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE || g.Specs[0].(*ast.TypeSpec).Name.Name != "Store" {
			continue
		}
		for line := range strings.Lines(g.Doc.Text()) {
			line = strings.TrimRight(line, "\n")
			if text, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok {
				bullets = append(bullets, text)
			} else if len(bullets) > 0 && strings.HasPrefix(line, "    ") {
				bullets[len(bullets)-1] += " " + strings.TrimSpace(line)
			}
		}
	}
	return bullets
}
