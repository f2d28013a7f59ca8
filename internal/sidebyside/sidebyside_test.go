package sidebyside

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestMeasure(t *testing.T) {
	var order []string
	runs := map[string]int{}
	side := func(name string, n int) Side {
		return Side{Name: name, N: n, Run: func(n int) {
			order = append(order, name)
			runs[name] += n
			for start := time.Now(); time.Since(start) < time.Microsecond; {
			}
		}}
	}
	const rounds = 64
	before, b := 0, side("b", 3)
	b.Before = func() { before++ }
	times := Measure(rounds, side("a", 1), b)
	if before != rounds {
		t.Errorf("what comes before a side was done %d times in %d rounds", before, rounds)
	}
	if len(times["a"]) != rounds || len(times["b"]) != rounds || len(times) != 2 {
		t.Errorf("the times are those of %d and %d rounds", len(times["a"]), len(times["b"]))
	}
	if runs["a"] != rounds || runs["b"] != 3*rounds {
		t.Errorf("they ran %v times", runs)
	}
	first := map[string]int{}
	for round := range slices.Chunk(order, 2) {
		first[round[0]]++
		if round[0] == round[1] {
			t.Fatalf("one side ran twice in a round: %q", order)
		}
	}
	if len(first) != 2 { // by chance once in 2^63 times
		t.Errorf("the same side always is the first: %v", first)
	}
	for _, ns := range times["b"] {
		if ns <= 0 || ns*3 < 1000 {
			t.Errorf("3 in a microsecond or more are %v ns each", ns)
		}
	}
}

func TestFill(t *testing.T) {
	const each = 100 * time.Microsecond
	n := fill(func(n int) {
		for start := time.Now(); time.Since(start) < time.Duration(n)*each; {
		}
	})
	// A machine that is busy may make it fewer.
	if most := int(slice/each) + 1; n < 1 || n > most {
		t.Errorf("%d times, want at most %d", n, most)
	}
}

func TestRatios(t *testing.T) {
	times := Times{"base": {1, 2, 4}, "other": {2, 2, 2}}
	if got := times.Ratios("other", "base"); !slices.Equal(got, []float64{2, 1, 0.5}) {
		t.Errorf("%v", got)
	}
}

func TestQuantile(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0: 1, 0.25: 2, 0.5: 3, 0.625: 3.5, 1: 5} {
		if got := Quantile(values, q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if !slices.Equal(values, []float64{5, 1, 4, 2, 3}) {
		t.Error("the values were sorted in place")
	}
	if got := Median([]float64{1, 2}); got != 1.5 {
		t.Errorf("the median of two is %v", got)
	}
}

func TestReport(t *testing.T) {
	r := testing.Benchmark(func(b *testing.B) {
		Times{"base": {10, 20, 30}, "other": {20, 60, 30}}.Report(b, "base", "other")
	})
	for name, want := range map[string]float64{"base-ns": 20, "other-ns": 30, "other-ratio": 2} {
		if got := r.Extra[name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}
