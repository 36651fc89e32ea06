package db_test

import (
	"testing"

	"weft.dev/weft/db"
)

// TestFollowerBesideCompactions: while a writer seals and compacts, followers open its directory again and again. None
// reports a file as lost that the writer removes meanwhile.
func TestFollowerBesideCompactions(t *testing.T) {
	t.Parallel()
	cfg := db.Config{Dir: t.TempDir(), SealBytes: 2 << 10, CacheBytes: 1 << 16}
	s := openWith(t, cfg)
	defer func() { _ = s.Close() }()
	h := newHistory(4)
	written := make(chan error, 1)
	go func() {
		var err error
		for n := 0; n < 4000/fraction(16) && err == nil; n++ {
			_, err = s.Apply(db.Batch{Host: "h", Events: h.next()})
		}
		written <- err
	}()
	for n := 0; ; n++ {
		f, err := db.OpenFollower(db.FollowerConfig{Dir: cfg.Dir})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := f.Refresh(t.Context()); err != nil {
			t.Errorf("after %d followers: %v", n, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-written:
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d followers", n)
			return
		default:
		}
	}
}
