package main

import (
	"strings"
	"testing"
)

const printed = `goos: linux
pkg: example.com/m/store/sqlite
BenchmarkGet-2   	       1	      7528 by-hand-ns	         1.235 store-ratio
BenchmarkGet-2   	       1	      7528 by-hand-ns	         1.1 store-ratio
BenchmarkGet-2   	       1	      7528 by-hand-ns	         1.3 store-ratio
PASS
pkg: example.com/m/internal/bench
BenchmarkLoad-2   	       1	      2332 bbolt-ns	         0.1691 bbolt-of-store
`

func TestTable(t *testing.T) {
	text := table(parse([]byte(printed)))
	for _, want := range []string{
		"| SQLite `Get` | prepared query of a plain table | ≤ 1.10 | 1.24 (1.1–1.3) |\n",
		"| bbolt, load | SQLite `Get` |  | 0.169 (0.169–0.169) |\n",
		"| JSON file `Put` | temp file, fsync, rename, fsync by hand | ≤ 1.15 | – |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %q in\n%s", want, text)
		}
	}
}

func TestBetween(t *testing.T) {
	file := "before\n" + begin + "\nold\n" + end + "\nafter\n"
	for range 2 {
		got, err := between([]byte(file), "new\n")
		if want := "before\n" + begin + "\nnew\n" + end + "\nafter\n"; err != nil || string(got) != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
		file = string(got)
	}
	for _, file := range []string{"", begin + "\n", end, end + begin + "\n"} {
		if _, err := between([]byte(file), ""); err == nil {
			t.Errorf("%q has no markers, and there is no error", file)
		}
	}
}

func FuzzTable(f *testing.F) {
	f.Add(printed)
	f.Add("pkg:\nBenchmarkX-2 1 NaN store-ratio\nBenchmark 1 1 1 1")
	f.Fuzz(func(t *testing.T, printed string) {
		text := table(parse([]byte(printed)))
		if lines := strings.Count(text, "\n"); lines != len(rows)+2 {
			t.Errorf("the table has %d lines", lines)
		}
	})
}
