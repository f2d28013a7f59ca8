package schema_test

var diffGroups = []diffGroup{
	{"empty", "", `{}`, []string{`{}`, `{"a":null}`}, nil},
}
