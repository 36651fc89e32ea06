package dirlock_test

import (
	"errors"
	"path/filepath"
	"testing"

	"weft.dev/weft/db/dirlock"
)

// TestLock: an exclusive lock excludes all others, shared locks exclude an exclusive one, and a lock that was taken
// over is released by its new owner alone.
func TestLock(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	first, err := dirlock.Exclusive(dir)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(when string) {
		t.Helper()
		if _, err := dirlock.Exclusive(dir); !errors.Is(err, dirlock.ErrLocked) {
			t.Errorf("%s: %v, want ErrLocked", when, err)
		}
	}
	release := func(l *dirlock.Lock) {
		t.Helper()
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	}
	refused("beside an exclusive lock")
	if l, beside := dirlock.Shared(dir); l != nil || !beside {
		t.Errorf("a shared lock beside an exclusive one: %v, beside %v", l, beside)
	}
	taken := first.Take()
	if first.Take() != nil {
		t.Error("a lock is taken over twice")
	}
	release(first)
	refused("after the release by the owner before")
	release(taken)
	release(taken)

	a, beside := dirlock.Shared(dir)
	b, besideToo := dirlock.Shared(dir)
	if a == nil || b == nil || beside || besideToo {
		t.Fatalf("two shared locks: %v and %v", a, b)
	}
	refused("beside two shared locks")
	release(a)
	refused("beside a shared lock")
	release(b)
	last, err := dirlock.Exclusive(dir)
	if err != nil {
		t.Fatal(err)
	}
	release(last)

	if l, beside := dirlock.Shared(filepath.Join(dir, "missing")); l != nil || beside {
		t.Errorf("a directory that is missing: %v, beside %v", l, beside)
	}
	var none *dirlock.Lock
	release(none)
	if none.Take() != nil {
		t.Error("no lock is taken over")
	}
}
