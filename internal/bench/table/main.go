// Command table runs the benchmarks of the library and writes what they measured into a Markdown file, between the lines
//
//	<!-- bench:begin -->
//	<!-- bench:end -->
//
// as a table: the median of several runs, and the least and the greatest in parentheses. Run it in the folder of its module:
//
//	go run ./table [-o ../../docs/benchmarks.md] [-runs 3] [-from FILE]
//
// With -from it runs nothing and reads what "go test -bench" has printed before.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

const begin, end = "<!-- bench:begin -->", "<!-- bench:end -->"

// row is one line of the table.
type row struct{ what, baseline, goal, benchmark, metric string }

// rows name benchmarks with their packages, as names are used twice.
var rows = []row{
	{"`Plugin(id)`, 10,000 plugins", "a read of a bare map", "≤ 1.2", "registry.Plugin", "registry-ratio"},
	{"`Plugin(id)`, two goroutines", "one", "≥ 1.6", "registry.Plugin", "two-goroutines-ratio"},
	{"`PluginsIn`, 5,000 of 100,000 plugins", "a copy of the slice", "≤ 1.15", "registry.PluginsIn", "registry-ratio"},
	{"`PluginsIn`, 50 of 100,000 plugins", "50 of 1,000", "≈ 1", "registry.PluginsIn", "size-ratio"},
	{"`Categories` + `CategoriesWithPlugins`, 100,000 plugins", "20 plugins", "≈ 1", "registry.Categories", "100000-ratio"},
	{"registering 100,000 plugins of one schema", "a plain map, one query a manager", "≤ 2", "registry.Register", "same-ratio"},
	{"registering 100,000 plugins, each with its own schema", "the same, which reads no schema", "≤ 2", "registry.Register", "own-ratio"},
	{"registering 100,000 plugins, per plugin", "10,000", "≤ 2", "registry.Register", "growth-ratio"},
	{"memory of a plugin beside its schema, bytes", "", "≤ 400", "registry.Memory", "bytes/plugin"},
	{"flag of one plugin of 100,000", "an atomic store, found by ID in a map", "≤ 3", "registry.Flag", "registry-ratio"},
	{"`SaveConfig` with schema and secret", "validate, seal and `Put` by themselves", "≤ 1.15", "registry.SaveConfig", "registry-ratio"},
	{"`ConfigAs`: load, defaults, validate, decode", "`Get` and `json.Unmarshal`", "≤ 3", "registry.ConfigAs", "config-as-ratio"},
	{"`LoadConfig`, `EffectiveConfig` and `ConfigAs`, one after the other", "`Get` and `json.Unmarshal`", "≤ 3", "registry.ConfigAs", "all-three-ratio"},
	{"10,000 configs in one `SaveConfigs`", "one transaction into a plain table", "≤ 1.10", "registry.SaveConfigs", "registry-ratio"},
	{"10,000 configs in one `SaveConfigs`", "one transaction in the same tables", "", "registry.SaveConfigs", "same-tables-to-registry-ratio"},
	{"SQLite `Get`", "prepared query of a plain table", "≤ 1.10", "sqlite.Get", "store-ratio"},
	{"SQLite `Put`, one caller", "prepared upsert into a plain table", "≤ 1.10", "sqlite.Put", "store-ratio"},
	{"SQLite `Put`, one caller", "prepared update in the same tables", "", "sqlite.Put", "same-tables-to-store-ratio"},
	{"SQLite `Put` with history", "without", "≤ 1.25", "sqlite.Put", "history-ratio"},
	{"SQLite `Put` where each adds a state and the oldest goes", "without history", "≤ 1.25", "sqlite.Put", "full-history-ratio"},
	{"64 callers saving, throughput", "a commit each under a mutex, plain table", "≥ 6", "sqlite.Put64", "throughput-ratio"},
	{"64 callers saving, 99th percentile", "the same", "≤ 0.5", "sqlite.Put64", "p99-ratio"},
	{"open, load one config, close", "the same by hand, same database", "≤ 1.3", "sqlite.Open", "same-tables-to-store-ratio"},
	{"open, load one config, close", "the same by hand, a database of one plain table", "≤ 1.3", "sqlite.Open", "store-ratio"},
	{"`Get` with 1,000,000 configs", "with 1,000", "≤ 2", "sqlite.Million", "get-ratio"},
	{"`Put` with 1,000,000 configs", "with 1,000", "≤ 1.5", "sqlite.Million", "put-ratio"},
	{"bytes of file per byte of config, 1,000,000 configs", "", "≤ 1.5", "sqlite.Million", "file-bytes/byte"},
	{"`Watch`, idle at 250 ms, % of one core", "", "≤ 0.2", "sqlite.Watch", "core-%"},
	{"`Watch`, idle, allocations a poll", "", "0", "sqlite.Watch", "allocs/poll"},
	{"JSON file `Put`", "temp file, fsync, rename, fsync by hand", "≤ 1.15", "jsonfile.Put", "store-ratio"},
	{"PostgreSQL `Get`", "pgx, plain table", "≤ 1.5", "postgres.Get", "store-ratio"},
	{"PostgreSQL `Put` with history, one caller", "pgx, upsert into a plain table", "≤ 1.5", "postgres.Put", "store-ratio"},
	{"PostgreSQL `Put` without history", "the same", "", "postgres.Put", "no-history-ratio"},
	{"PostgreSQL `Put` of what is stored", "the same", "", "postgres.PutUnchanged", "store-ratio"},
	{"PostgreSQL, 64 callers saving, throughput", "pgxpool of 16 connections, plain table", "≥ 0.9", "postgres.Put64", "throughput-ratio"},
	{"PostgreSQL `Configured`, 100,000 configs", "pgx, plain table", "≤ 1.1", "postgres.Configured", "store-ratio"},
	{"PostgreSQL `PutAll` of 10,000 with history", "pgx, one statement, plain table", "≤ 2.5", "postgres.PutAll", "store-ratio"},
	{"PostgreSQL `Watch`, from the save to the event, ms", "", "≤ 2", "postgres.Watch", "median-ms"},
	{"bbolt, load", "SQLite `Get`", "", "bench.Load", "bbolt-of-store"},
	{"mattn/go-sqlite3, load", "SQLite `Get`", "", "bench.Load", "mattn-of-store"},
	{"ncruces/go-sqlite3, load", "SQLite `Get`", "", "bench.Load", "ncruces-of-store"},
	{"koanf, load", "SQLite `Get`", "", "bench.Load", "koanf-of-store"},
	{"JSON files by hand, load", "SQLite `Get`", "", "bench.Load", "json-by-hand-of-store"},
	{"bbolt, save", "SQLite `Put`", "", "bench.Save", "bbolt-of-store"},
	{"mattn/go-sqlite3, save", "SQLite `Put`", "", "bench.Save", "mattn-of-store"},
	{"ncruces/go-sqlite3, save", "SQLite `Put`", "", "bench.Save", "ncruces-of-store"},
	{"koanf with one file of 100 configs, save", "SQLite `Put`", "", "bench.Save", "koanf-of-store"},
	{"JSON files by hand, save", "SQLite `Put`", "", "bench.Save", "json-by-hand-of-store"},
	{"bbolt Batch, 64 callers saving", "SQLite `Put`", "> 1", "bench.Save64", "bbolt-batch-of-store"},
	{"mattn/go-sqlite3, 64 callers saving", "SQLite `Put`", "", "bench.Save64", "mattn-of-store"},
	{"ncruces/go-sqlite3, 64 callers saving", "SQLite `Put`", "", "bench.Save64", "ncruces-of-store"},
}

// packages are what is run, seen from the folder of this module.
var packages = []struct{ dir, path, bench string }{
	{"../..", "./registry", "."},
	{"../..", "./store/sqlite", "."},
	{"../..", "./store/jsonfile", "^BenchmarkPut$"},
	{"../..", "./store/postgres", "."}, // they skip without PLUGINREGISTRY_POSTGRES, although they start servers of their own
	{".", ".", "."},
}

func main() {
	out := flag.String("o", "../../docs/benchmarks.md", "the file with the two marker lines")
	runs := flag.Int("runs", 3, "how many times to run all")
	from := flag.String("from", "", "a file with the output of go test -bench, instead of running it")
	flag.Parse()
	if err := run(*out, *runs, *from); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

func run(out string, runs int, from string) error {
	file, err := os.ReadFile(out) // before all else, lest the measuring is for nothing
	if err != nil {
		return err
	}
	if _, err := between(file, ""); err != nil {
		return fmt.Errorf("%s: %w", out, err)
	}
	var printed []byte
	if from != "" {
		printed, err = os.ReadFile(from)
	} else {
		printed, err = measure(runs)
	}
	if err != nil {
		return err
	}
	text, err := between(file, table(parse(printed)))
	if err != nil {
		return err
	}
	return os.WriteFile(out, text, 0o644)
}

// measure runs the benchmarks and returns what they print, which it shows, too.
func measure(runs int) ([]byte, error) {
	var printed bytes.Buffer
	for _, p := range packages {
		cmd := exec.Command("go", "test", "-timeout=30m", "-run=^$", "-bench="+p.bench, "-benchtime=1x", "-count="+strconv.Itoa(runs), p.path)
		cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, io.MultiWriter(&printed, os.Stdout), os.Stderr
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("the benchmarks of %s: %w", p.path, err)
		}
	}
	return printed.Bytes(), nil
}

// measured are the values of each metric, one for each run, by package.Benchmark and metric.
type measured map[[2]string][]float64

// parse reads what go test prints: "pkg: PATH", and lines of a name, a count, and values with their units.
func parse(printed []byte) measured {
	values := measured{}
	pkg := ""
	for line := range strings.Lines(string(printed)) {
		fields := strings.Fields(line)
		if len(fields) == 2 && fields[0] == "pkg:" {
			pkg = fields[1][strings.LastIndexByte(fields[1], '/')+1:]
		}
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(fields[0], "Benchmark"), "-")
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				key := [2]string{pkg + "." + name, fields[i+1]}
				values[key] = append(values[key], v)
			}
		}
	}
	return values
}

// table writes the rows. What was not measured has a dash.
func table(values measured) string {
	var b strings.Builder
	b.WriteString("| what | beside | goal | measured |\n| --- | --- | --- | --- |\n")
	for _, r := range rows {
		v := values[[2]string{r.benchmark, r.metric}]
		text := "–"
		if len(v) > 0 {
			slices.Sort(v)
			median := (v[(len(v)-1)/2] + v[len(v)/2]) / 2
			text = fmt.Sprintf("%s (%s–%s)", short(median), short(v[0]), short(v[len(v)-1]))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.what, r.baseline, r.goal, text)
	}
	return b.String()
}

func short(v float64) string {
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// between returns file with text between the markers, in the place of what was there.
func between(file []byte, text string) ([]byte, error) {
	head, rest, ok := bytes.Cut(file, []byte(begin+"\n"))
	_, tail, closed := bytes.Cut(rest, []byte(end))
	if !ok || !closed {
		return nil, errors.New("it has no lines " + begin + " and " + end)
	}
	return slices.Concat(head, []byte(begin+"\n"+text+end), tail), nil
}
