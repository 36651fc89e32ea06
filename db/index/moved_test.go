package index

import "testing"

// TestMoved: a batch moves the cursor of its upstream on and never back, and the highest position stays, also after a
// cursor that was reset.
func TestMoved(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name          string
		was           Upstream
		seq           uint64
		us            int64
		seqAfter      uint64
		usAfter, high int64
	}{
		{"the first batch", Upstream{}, 10, 100, 10, 100, 10},
		{"the next one", Upstream{Seq: 10, US: 100, High: 10}, 20, 200, 20, 200, 20},
		{"the same event again", Upstream{Seq: 20, US: 200, High: 20}, 20, 201, 20, 201, 20},
		{"a rewind", Upstream{Seq: 20, US: 200, High: 20}, 15, 150, 20, 200, 20},
		{"after a cursor that was reset", Upstream{Seq: 5, US: 50, High: 20}, 15, 150, 15, 150, 20},
	} {
		got := tc.was.Moved("v2", tc.seq, tc.us)
		if got.Seq != tc.seqAfter || got.US != tc.usAfter || got.High != uint64(tc.high) {
			t.Errorf("%s: the cursor is %d of time %d, and the highest position %d; want %d, %d and %d", tc.name,
				got.Seq, got.US, got.High, tc.seqAfter, tc.usAfter, tc.high)
		}
	}
}
