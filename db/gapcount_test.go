package db

import (
	"errors"
	"testing"
)

// TestOpenGaps: Stats has the number of open gaps after each change of them, and walks over the gaps only after one.
func TestOpenGaps(t *testing.T) {
	t.Parallel()
	s, err := Open(Config{Dir: t.TempDir(), Disk: func(string) (free, total int64, err error) { return 0, 0, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	gap := func(from, to uint64) func() error {
		return func() error { return s.AddGap(Gap{Host: "h", From: from, To: to}) }
	}
	for _, step := range []struct {
		name string
		do   func() error
		want int64
	}{
		{"none", func() error { return nil }, 0},
		{"a gap", gap(10, 19), 1},
		{"another", gap(30, 39), 2},
		{"one within the first", gap(12, 13), 2},
		{"an attempt that fails", func() error { return s.TriedGap(1, false, "later") }, 2},
		{"a part is filled", func() error { return s.ShrinkGap(1, 15, 0) }, 2},
		{"one is filled", func() error { return s.TriedGap(1, true, "") }, 1},
		{"a new start", func() error { return s.Forget() }, 0},
	} {
		err := step.do()
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		for range 2 {
			st, err := s.Stats(t.Context())
			if err != nil || st.Gaps != step.want {
				t.Errorf("%s: %d open gaps, %v, want %d", step.name, st.Gaps, err, step.want)
			}
		}
		gaps, err := s.Gaps(t.Context())
		if err != nil || int64(len(gaps)) != step.want {
			t.Errorf("%s: %d gaps are listed, %v, want %d", step.name, len(gaps), err, step.want)
		}
	}
	walks := 0
	var o openGaps
	count := func(during func(), fails error) (int64, error) {
		return o.count(func() (int64, error) {
			walks++
			during()
			return int64(walks), fails
		})
	}
	failed := errors.New("no walk")
	nothing := func() {}
	for _, step := range []struct {
		name   string
		during func()
		fails  error
		want   int64 // the walk that counted
	}{
		{"the first", nothing, nil, 1},
		{"nothing has changed", nothing, nil, 1},
		{"a change", nothing, nil, 2},
		{"a walk that fails", nothing, failed, 0},
		{"the one after it, with a change meanwhile", o.changed, nil, 4},
		{"which may be missing in it", nothing, nil, 5},
		{"nothing has changed since", nothing, failed, 5},
	} {
		if step.name == "a change" || step.fails != nil && step.want == 0 {
			o.changed()
		}
		n, err := count(step.during, step.fails)
		if n != step.want || step.want == 0 && !errors.Is(err, failed) {
			t.Errorf("%s: the count of walk %d, %v, want %d", step.name, n, err, step.want)
		}
	}
}
