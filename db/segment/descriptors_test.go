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

// TestRemovedMeanwhile checks that Open tells a file that is removed while it opens it from one that is damaged.
func TestRemovedMeanwhile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "1")
	makeContent().write(t, path, Options{})
	cache := NewCache(1 << 20)
	opened, gone := 0, 0
	for i := 0; i < 400 || opened*gone == 0; i++ {
		name := filepath.Join(dir, strconv.Itoa(i)+".name")
		if err := os.Link(path, name); err != nil {
			t.Fatal(err)
		}
		removed := make(chan error, 1)
		go func() {
			time.Sleep(time.Duration(i%200) * 10 * time.Microsecond)
			removed <- os.Remove(name)
		}()
		s, err := Open(name, testKinds, cache)
		if err := <-removed; err != nil {
			t.Fatal(err)
		}
		switch {
		case err == nil:
			opened++
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		case errors.Is(err, fs.ErrNotExist):
			gone++
		default:
			t.Fatalf("removed after %d µs: %v", i%200*10, err)
		}
	}
}
