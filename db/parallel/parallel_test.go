package parallel

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
)

// TestDo: each number comes once, also where there are none, one, or a turn more than there are goroutines.
func TestDo(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, perTurn - 1, perTurn, perTurn + 1, 10*perTurn + 1, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			calls := make([]atomic.Int32, n)
			Do(slog.New(slog.DiscardHandler), "test", n, func(i int) { calls[i].Add(1) })
			for i := range calls {
				if got := calls[i].Load(); got != 1 {
					t.Errorf("%d calls with %d", got, i)
				}
			}
		})
	}
}
