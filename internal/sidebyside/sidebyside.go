// Package sidebyside measures pieces of work beside each other in one run, for benchmarks: a ratio that was taken so holds on a machine
// that is busy with other things, where a time does not.
package sidebyside

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Side is one of the pieces of work.
type Side struct {
	Name string
	Run  func(n int) // does the work n times
	N    int         // how many times in each round; 0 is as many as fill a slice of time

	Before func() // what is done before each round, and not measured; may be nil
}

// slice is how long a side runs at a time: short, so that a disturbance hits all sides, and long for the clock.
const slice = 30 * time.Millisecond

// Rounds is how often each side runs unless there is a reason for another number.
const Rounds = 9

// Times are the nanoseconds of one piece of work, by the name of the side, one for each round.
type Times map[string][]float64

// Measure runs all sides in turn, in an order that is drawn anew for each round.
func Measure(rounds int, sides ...Side) Times {
	sides = slices.Clone(sides)
	for i := range sides {
		if sides[i].N == 0 {
			sides[i].N = fill(sides[i].Run)
		}
	}
	times := Times{}
	for range rounds {
		rand.Shuffle(len(sides), func(i, j int) { sides[i], sides[j] = sides[j], sides[i] })
		for _, s := range sides {
			if s.Before != nil {
				s.Before()
			}
			start := time.Now()
			s.Run(s.N)
			times[s.Name] = append(times[s.Name], float64(time.Since(start))/float64(s.N))
		}
	}
	return times
}

// fill returns how many times run works in a slice.
func fill(run func(n int)) int {
	for n := 1; ; {
		start := time.Now()
		run(n)
		took := max(time.Since(start), 1)
		if took > slice/3 {
			return max(1, int(float64(n)*float64(slice)/float64(took)))
		}
		n *= min(10, max(2, int(slice/3/took)))
	}
}

// Ratios returns how many times as long as base work of that name took, round by round.
func (t Times) Ratios(name, base string) []float64 {
	ratios := make([]float64, len(t[name]))
	for i := range ratios {
		ratios[i] = t[name][i] / t[base][i]
	}
	return ratios
}

// Quantile returns the value that the share q of all values does not exceed: 0.5 is the median. It sorts a copy of values, of which there
// must be one at least.
func Quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (sorted[high]-sorted[low])*(at-float64(low))
}

// Median returns the middle of values.
func Median(values []float64) float64 { return Quantile(values, 0.5) }

// Report reports the median of each side's time as NAME-ns, and the median of its ratio to base, the first name, as NAME-ratio. The time
// of the benchmark as a whole, which says nothing, is left out.
func (t Times) Report(b *testing.B, base string, names ...string) {
	b.Helper()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(Median(t[base]), base+"-ns")
	for _, name := range names {
		b.ReportMetric(Median(t[name]), name+"-ns")
		b.ReportMetric(Median(t.Ratios(name, base)), name+"-ratio")
	}
}
