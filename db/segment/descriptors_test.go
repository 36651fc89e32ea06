package segment

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// TestNoFurtherConnection checks that a reader that cannot open a further connection waits for an open one, and
// returns an error in bounded time when none becomes free.
func TestNoFurtherConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "1")
		makeContent().write(t, path, Options{})
		s, err := Open(path, testKinds, NewCache(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		time.Sleep(time.Hour) // an idle connection stays open
		// SQLite has one error code for every reason.
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		busy, err := queryRetry(s.byID[tableBlocks], 1)
		if err != nil {
			t.Fatal("no connection is kept: ", err)
		}
		if _, err := queryRetry(s.byID[tableBlocks], 2); !isCantOpen(err) {
			t.Fatalf("a second connection to a file that isn't there: %v", err)
		}
		done := make(chan error)
		go func() {
			rows, err := queryRetry(s.byID[tableBlocks], 2)
			if err == nil {
				err = rows.Close()
			}
			done <- err
		}()
		synctest.Wait() // it has tried, and sleeps
		if err := busy.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
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
