package segment

import (
	"fmt"
	"strings"
	"testing"
)

// TestRowQueuePanics: a panic goes on in the caller, with the stack of the goroutine in which it began, and close ends.
func TestRowQueuePanics(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, want string
		do         func(q *rowQueue) error
	}{
		{"in a set", "a fault", func(q *rowQueue) error {
			return q.addSet(1, nil, func([]byte) ([]byte, error) { panic("a fault") })
		}},
		{"in a worker", "EncodeAll", func(q *rowQueue) error { // there is no encoder
			b := &blockWriter{}
			b.add([]byte("g/1.1"), []byte("+"))
			_, err := q.addBlock(tableBlocks, b)
			if err != nil {
				return err
			}
			return q.flush()
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if p := fmt.Sprint(recover()); !strings.Contains(p, tc.want) {
					t.Errorf("it panics with %s, want %q", p, tc.want)
				}
			}()
			q := &rowQueue{file: &fileWriter{}, workers: 3}
			defer q.close()
			t.Error("no panic: ", tc.do(q))
		})
	}
}
