package apply

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"weft.dev/weft/db/logrow"
)

// BenchmarkStatuses measures five million accounts that are not active, of forty million, as bitmaps and as a map:
// memory, a look-up of an account that is active, and the start. go test ./db/apply -run '^$' -bench Statuses
// -benchtime 1000000x
func BenchmarkStatuses(b *testing.B) {
	const all, inactive = 40_000_000, 5_000_000
	r := rand.New(rand.NewPCG(1, 6))
	ids := make([]uint64, inactive)
	for i := range ids {
		ids[i] = uint64(i)*(all/inactive) + 1 + r.Uint64N(all/inactive)
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	run := func(name string, set func(uint64, logrow.Status), of func(uint64) logrow.Status) {
		b.Run(name, func(b *testing.B) {
			before, began := heap(), time.Now()
			for i, id := range ids {
				set(id, 1+logrow.Status(i%5))
			}
			took := time.Since(began)
			each := float64(heap()-before) / inactive
			n := 0
			for b.Loop() {
				if of(1+r.Uint64N(all)) == logrow.StatusActive {
					n++
				}
			}
			if n == 0 {
				b.Error("none is active")
			}
			b.ReportMetric(each, "B/account")
			b.ReportMetric(took.Seconds(), "s/start")
		})
	}
	m := map[uint64]logrow.Status{}
	run("map", func(id uint64, s logrow.Status) { m[id] = s }, func(id uint64) logrow.Status { return m[id] })
	runtime.KeepAlive(m)
	m = nil
	var s statuses
	run("bitmaps", s.set, s.of)
	runtime.KeepAlive(&s)
}
