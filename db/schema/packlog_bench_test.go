package schema

import "testing"

// BenchmarkPackLog measures how fast a start packs a log of schema 11.
func BenchmarkPackLog(b *testing.B) {
	base := openAt(b, 11)
	oldRows(b, base, 11, 1, uint64(b.N))
	if _, err := provider(b, base).UpTo(b.Context(), rowsSchema); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	n, err := packSome(base, int64(b.N))
	if err != nil || n != int64(b.N) {
		b.Fatal(n, err)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}
