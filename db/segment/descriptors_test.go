package segment

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestNoFurtherDescriptor checks that an open segment needs no further file descriptor: every read succeeds although
// the file can no longer be opened.
func TestNoFurtherDescriptor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "1")
	c := makeContent()
	c.write(t, path, small)
	s, err := Open(path, testKinds, NewCache(0))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if errs := c.read(t, s); errs != nil {
		t.Error(errs)
	}
	if space, err := s.Space(); err != nil || space[1] == 0 {
		t.Errorf("space %v, %v", space, err)
	}
}

// TestRemovedMeanwhile checks that Open and Hold tell a file that is removed before or while they open it from one that
// is damaged, and that a segment whose file is held can be verified once the file's name is removed.
func TestRemovedMeanwhile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "1")
	makeContent().write(t, path, Options{})
	cache := NewCache(1 << 20)
	isGone := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range 100 {
		name := filepath.Join(dir, strconv.Itoa(i)+".name")
		if err := os.Link(path, name); err != nil {
			t.Fatal(err)
		}
		removed := make(chan error, 1)
		go func() {
			time.Sleep(time.Duration(i%50) * 20 * time.Microsecond) // somewhere in what the test does meanwhile
			removed <- os.Remove(name)
		}()
		s, err := Open(name, testKinds, cache)
		switch {
		case err != nil:
			isGone("open", err)
		default:
			err := s.Hold()
			if err != nil {
				isGone("hold", err)
			} else if err := s.Verify(t.Context()); err != nil {
				t.Errorf("a file that is held: %v", err)
			}
		}
		if err := <-removed; err != nil {
			t.Fatal(err)
		}
		if s != nil {
			isGone("hold afterwards", s.Hold())
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		_, err = Open(name, testKinds, cache)
		isGone("open afterwards", err)
	}
}
