package replica

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/replica/restore"
)

// TestNoCopyAfterRestore: a start after a restore sends what is new, and not the whole database; so restores read no
// more each time, and what each brings back is right. Where the WAL was begun anew since, the whole database is sent,
// as it must be.
func TestNoCopyAfterRestore(t *testing.T) {
	t.Parallel()
	events := mustEvents(t, 6, 4000)
	cfg := liveConfig(t)
	p := mustBegin(t, cfg, 0, events)
	mustFeed(t, p, 3000)
	mustEnd(t, p)
	var first int64
	cut := func() (bytes int64) { // in the files that hold what was cut: the others are made of them, or of what was there
		files, err := filepath.Glob(filepath.Join(cfg.Path, "ltx", "0", "*.ltx"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			bytes += info.Size()
		}
		return bytes
	}
	most := int64(0)
	for round := range 5 {
		cfg.DB = filepath.Join(t.TempDir(), "weft.db")
		restored, err := restore.Restore(t.Context(), cfg, filepath.Dir(cfg.DB), restore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(restored.Notes) > 0 {
			t.Errorf("%q", restored.Notes)
		}
		if round == 0 {
			first = restored.Read
		}
		if restored.Read > first*3/2 {
			t.Errorf("restore %d reads %d bytes, and the first read %d", round, restored.Read, first)
		}
		again := round == 3 // another process has checkpointed the WAL away meanwhile
		if again {
			s := openAlone(t, filepath.Dir(cfg.DB))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		before := cut()
		p = mustBegin(t, cfg, 0, events)
		mustFeed(t, p, 20)
		mustEnd(t, p)
		sent := cut() - before
		if again {
			if sent < 3*most {
				t.Errorf("a start that has to send all sent %d bytes, and one that hasn't %d", sent, most)
			}
			break
		}
		most = max(most, sent)
	}
	if n := equalsModel(t, cfg, events, 0); n < 3000+4*20 {
		t.Errorf("%d events came back", n)
	}
	if _, err := os.Stat(restore.MarkPath(cfg.DB)); !os.IsNotExist(err) {
		t.Errorf("the mark of the restore is still there: %v", err)
	}
}

// endedLater is a context that ends after the first look at it.
type endedLater struct {
	context.Context
	looks atomic.Int32
}

func (c *endedLater) Err() error {
	if c.looks.Add(1) == 1 {
		return nil
	}
	return context.Canceled
}

func (c *endedLater) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// TestInterruptedOpen: an end during the first cut, while Litestream opens the database, leaves nothing that fails
// afterwards: the last upload, which follows it, has all.
func TestInterruptedOpen(t *testing.T) {
	t.Parallel()
	events := mustEvents(t, 24, 200)
	cfg := liveConfig(t)
	p := mustBegin(t, cfg, 0, events)
	mustFeed(t, p, 100)
	p.stop()
	must(t, <-p.ran)
	must(t, p.rep.local.Close(t.Context()))
	must(t, p.rep.local.Open()) // as at a start: the next sync opens the database
	if err := p.rep.syncLocal(&endedLater{Context: t.Context()}); !errors.Is(err, context.Canceled) {
		t.Fatalf("an interrupted sync: %v", err)
	}
	mustFeed(t, p, 100)
	p.ran <- nil // it has ended
	mustEnd(t, p)
	if n := equalsModel(t, cfg, events, 0); n != 200 {
		t.Errorf("%d events came back", n)
	}
}

// openAlone opens an index as weft serve --replicate off does.
func openAlone(t *testing.T, dir string) *db.Store {
	t.Helper()
	s, err := db.Open(db.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
