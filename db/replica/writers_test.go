package replica

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
)

// saysSo waits until the status says that the replica has another writer, and answers what it says.
func saysSo(t *testing.T, p *primary, want string) string {
	t.Helper()
	eventually(t, want, func() bool {
		st := p.rep.Status()
		return st.State == "failing" && strings.Contains(st.LastError, want)
	})
	st := p.rep.Status()
	if !strings.Contains(st.Do, "its own path in litestream.yml") {
		t.Errorf("what to do: %q", st.Do)
	}
	return st.LastError
}

// goesOn shows that queries and indexing go on behind a fence, and that nothing is kept for the replica.
func goesOn(t *testing.T, p *primary) {
	t.Helper()
	seq := p.store.Seq()
	mustFeed(t, p, 600) // merges among them: they wait for no upload
	if p.store.Seq() <= seq {
		t.Error("nothing was indexed")
	}
	eventually(t, "nothing waits for the replica, and the cuts are dropped", func() bool {
		cuts, err := filepath.Glob(filepath.Join(p.rep.local.LTXLevelDir(0), "*.ltx"))
		return err == nil && p.rep.Status().SegmentsWaiting == 0 && len(cuts) <= 2
	})
}

// takesOver begins a primary when the one before is silent: what that one has sent last may arrive meanwhile.
func takesOver(t *testing.T, cfg config.Config, events []apply.Event) *primary {
	t.Helper()
	return takesOverWith(t, cfg, events, func(*ReplicatorConfig) {})
}

func takesOverWith(t *testing.T, cfg config.Config, events []apply.Event,
	change func(*ReplicatorConfig)) (p *primary) {
	t.Helper()
	eventually(t, "the second takes over", func() bool {
		var err error
		p, err = beginWith(t.Context(), cfg, 0, events, nil, change)
		if err != nil && !fenced(err) {
			t.Fatal(err)
		}
		return err == nil
	})
	return p
}

// TestSecondWriter: on each kind of store a second weft with an empty disk is refused while the first lives, and
// nothing changes for that. It takes over when the first is silent. The first says so when it comes back, writes
// nothing more, and goes on to index and answer.
func TestSecondWriter(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"file", "s3", "sftp"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			events := mustEvents(t, 8, 2000)
			cfg := placeOfKind(t, kind)
			f := newFaulty()
			first := mustBeginWith(t, cfg, events, f.configure)
			feedAll(t, first, 300)
			other := cfg
			other.DB = filepath.Join(t.TempDir(), "weft.db")
			_, err := begin(t.Context(), other, 0, events, nil)
			var writer *WriterError
			if !errors.As(err, &writer) || !strings.Contains(err.Error(), "is in use by another weft") || writer.Host == "" {
				t.Fatalf("a second one beside the first: %v", err)
			}
			feedAll(t, first, 100)
			if st := first.rep.Status(); st.State == "failing" || st.LastError != "" {
				t.Errorf("the first says %+v", st)
			}

			// The first is cut off, or paused.
			f.shut()
			mustFeed(t, first, 50)
			second := takesOver(t, other, events)
			feedAll(t, second, 200)
			f.reopen()
			said := saysSo(t, first, "was taken over by another weft")
			t.Log(said)
			if !strings.Contains(said, "the replica is intact: the other process continued from transaction") {
				t.Errorf("it doesn't say what can be restored: %s", said)
			}
			goesOn(t, first)
			feedAll(t, second, 200)
			if st := second.rep.Status(); st.State == "failing" || st.LastError != "" {
				t.Errorf("the second says %+v", st)
			}
			if err := second.rep.poll(t.Context()); err != nil {
				t.Errorf("the second finds %v", err)
			}
			if err := first.end(5 * time.Second); !errors.As(err, &writer) {
				t.Errorf("the end of the first: %v", err)
			}
			mustEnd(t, second)
			if n := equalsModel(t, cfg, events, 0); n != 800 {
				t.Errorf("%d events came back", n)
			}
			if _, err := begin(t.Context(), cfg, 0, events, nil); !fenced(err) {
				t.Errorf("the first starts again: %v", err)
			}
		})
	}
}

// asksForPoll asks for a poll of the replica, as the first upload does.
func asksForPoll(p *primary) {
	select {
	case p.rep.pollNow <- struct{}{}:
	default:
	}
}

// TestBothWrote: where both have written after all, both say so at their next look, and what they say can be restored
// is whole. A poll may be due at any time, as the one after the first upload: no poll runs while both write. A process
// that gets no CPU time for seconds keeps its lease here, and the second one takes over from a first one that renews
// nothing: neither depends on the machine's speed.
func TestBothWrote(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"file", "s3", "sftp"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			events := mustEvents(t, 18, 2000)
			cfg := placeOfKind(t, kind)
			f, polls := newFaulty(), newPollGate()
			gated := func(c *ReplicatorConfig) {
				polls.configure(c)
				c.lease.suspend = time.Hour
			}
			first := mustBeginWith(t, cfg, events, func(c *ReplicatorConfig) {
				gated(c)
				f.configure(c)
			})
			feedAll(t, first, 300)
			f.blind.Store(true)
			blinded, l := time.Now(), first.rep.lease
			eventually(t, "the first renews into the void", func() bool {
				l.mu.Lock()
				defer l.mu.Unlock()
				return l.renewed.After(blinded)
			})
			other := cfg
			other.DB = filepath.Join(t.TempDir(), "weft.db")
			polls.shut()
			second := takesOverWith(t, other, events, gated)
			for range 4 {
				feedAll(t, second, 50)
				feedAll(t, first, 50)
				asksForPoll(first)
				asksForPoll(second)
			}
			// Each may have written files of the same names and lengths as the other. These are files that the other did not
			// write.
			if _, err := first.rep.local.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
			feedAll(t, second, 100)
			polls.reopen()
			for _, p := range []*primary{first, second} {
				asksForPoll(p)
				said := saysSo(t, p, "has a second writer")
				t.Log(said)
				if _, txid, ok := strings.Cut(said, "--txid "); ok {
					to, err := restore.ParseTXID(txid[:16])
					if err != nil {
						t.Fatal(err)
					}
					dir := t.TempDir()
					r, err := restore.Restore(t.Context(), cfg, dir, restore.Options{Target: restore.Target{TXID: to}})
					if err != nil {
						t.Fatalf("what can be restored, transaction %s: %v", to, err)
					}
					sameAsModel(t, dir, events, 0, r.Segments)
				} else if p == second || !strings.Contains(said, "weft restore finds the newest") {
					// The second one knows what it has found there.
					t.Errorf("it names no moment: %s", said)
				}
				goesOn(t, p)
				if err := p.end(5 * time.Second); !fenced(err) {
					t.Errorf("the end: %v", err)
				}
				startsFenced(t, p.cfg, events)
			}
		})
	}
}

// startsFenced starts again after both have written: queries and indexing go on, the status says why, and nothing is
// written to the replica. An exit would be a loop of crashes on a machine without a shell.
func startsFenced(t *testing.T, cfg config.Config, events []apply.Event) {
	t.Helper()
	client, err := cfg.Client("")
	must(t, err)
	before, err := restore.ListFiles(t.Context(), client)
	must(t, err)
	p, err := begin(t.Context(), cfg, 0, events, nil)
	if err != nil {
		t.Errorf("it does not start again: %v", err)
		return
	}
	goesOn(t, p)
	if st := p.rep.Status(); st.State != "failing" || !strings.Contains(st.Reason, "has a second writer") ||
		st.Do != fencedAdvice {
		t.Errorf("%+v", st)
	}
	if err := p.end(5 * time.Second); !fenced(err) {
		t.Errorf("the end: %v", err)
	}
	after, err := restore.ListFiles(t.Context(), client)
	if err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("it has written to the replica: %v before, %v after, %v", before, after, err)
	}
}

// TestLeaseOfTheKilled: after kill -9 the same data directory goes on at once, another one when the lease has expired,
// and a copy of the directory is another one.
func TestLeaseOfTheKilled(t *testing.T) {
	t.Parallel()
	events := mustEvents(t, 9, 600)
	cfg := liveConfig(t)
	p := mustBegin(t, cfg, 0, events)
	feedAll(t, p, 200)
	die(t, p)
	began := time.Now()
	p = mustBegin(t, cfg, 0, events)
	if took := time.Since(began); took > leaseForTest().expire {
		t.Errorf("the start after a kill took %s", took)
	}
	feedAll(t, p, 200)
	eventually(t, "all is in the replica", func() bool { return p.rep.Status().State == "ok" })
	die(t, p)
	other := cfg
	other.DB = filepath.Join(t.TempDir(), "weft.db")
	p = takesOver(t, other, events)
	feedAll(t, p, 200)
	mustEnd(t, p)
	if n := equalsModel(t, cfg, events, 0); n != 600 {
		t.Errorf("%d events came back", n)
	}
	host, holders := "host", map[string]bool{}
	dir := t.TempDir()
	for _, at := range []struct{ dir, host string }{{dir, host}, {dir, host}, {copyDir(t, dir), host}, {dir, "another"}} {
		holder, err := holderOf(at.dir, at.host)
		if err != nil {
			t.Fatal(err)
		}
		holders[holder] = true
	}
	if len(holders) != 3 {
		t.Errorf("a directory, its copy and the same on another host are %d holders", len(holders))
	}
}

// die ends a primary as kill -9 does: nothing is sent, nothing released.
func die(t *testing.T, p *primary) {
	t.Helper()
	p.stop()
	<-p.ran
	if err := p.rep.lease.release(t.Context(), false); err != nil {
		t.Error(err)
	}
	if err := p.store.Close(); err != nil {
		t.Error(err)
	}
	if err := p.rep.store.Close(t.Context()); err != nil && !strings.Contains(err.Error(), "the lease is not acquired") {
		t.Error(err)
	}
}

// recording are objects that remember what is written to the lease.
type recording struct {
	config.Objects
	mu      sync.Mutex
	records []leaseRecord
}

func (o *recording) note(data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var r leaseRecord
	_ = json.Unmarshal(data, &r)
	o.records = append(o.records, r)
}

func (o *recording) Create(ctx context.Context, name string, data []byte) error {
	o.note(data)
	return o.Objects.Create(ctx, name, data)
}

func (o *recording) Write(ctx context.Context, name string, data []byte) error {
	o.note(data)
	return o.Objects.Write(ctx, name, data)
}

// TestLeaseNamesTheIndex: of an index that exists, the lease says which it is from its first record on. A start that
// ends before it has found all well would otherwise leave a replica that its own index doesn't know as its own, when
// its files vanish.
func TestLeaseNamesTheIndex(t *testing.T) {
	t.Parallel()
	events := mustEvents(t, 9, 200)
	cfg := liveConfig(t)
	p := mustBegin(t, cfg, 0, events)
	feedAll(t, p, 100)
	instance := p.store.Instance()
	mustEnd(t, p)
	o := &recording{}
	p, err := beginWith(t.Context(), cfg, 0, events, nil, func(c *ReplicatorConfig) {
		c.objects = func(inner config.Objects) config.Objects {
			o.Objects = inner
			return o
		}
	})
	must(t, err)
	mustEnd(t, p)
	if len(o.records) == 0 {
		t.Fatal("no lease was written")
	}
	for i, r := range o.records {
		if r.Instance != instance {
			t.Errorf("record %d is of the index %q, not %q", i, r.Instance, instance)
		}
	}
}

// TestSameDirectory: a second process in the same data directory takes nothing from the first.
func TestSameDirectory(t *testing.T) {
	t.Parallel()
	events := mustEvents(t, 9, 300)
	cfg := liveConfig(t)
	p := mustBegin(t, cfg, 0, events)
	feedAll(t, p, 100)
	if _, err := begin(t.Context(), cfg, 0, events, nil); err == nil ||
		!strings.Contains(err.Error(), "another weft has") {
		t.Errorf("%v", err)
	}
	// Nor does one that replicates to another place, to which nothing is owed of what is owed to the first one's.
	elsewhere := cfg
	elsewhere.Path = filepath.Join(t.TempDir(), "elsewhere")
	if _, err := begin(t.Context(), elsewhere, 0, events, nil); err == nil ||
		!strings.Contains(err.Error(), "another weft has") {
		t.Errorf("to another place: %v", err)
	}
	if _, err := os.Stat(p.rep.queue.path("pending", "")); err != nil {
		t.Errorf("what is owed is gone: %v", err)
	}
	feedAll(t, p, 100)
	if st := p.rep.Status(); st.State == "failing" {
		t.Errorf("%+v", st)
	}
	mustEnd(t, p)
}

// TestConnections: to look at the replica again and again opens no further connections, and a lease whose requests hang
// fails in their time.
func TestConnections(t *testing.T) {
	t.Parallel()
	s, cfg := newStore(t, "sftp"), liveConfig(t)
	own := s.cfg
	own.DB, own.SyncInterval, own.Levels, own.StallTimeout = cfg.DB, cfg.SyncInterval, []time.Duration{time.Hour},
		time.Second
	p := mustBegin(t, own, 0, mustEvents(t, 9, 300))
	feedAll(t, p, 200)
	before := s.conns.Load()
	for range 5 {
		if err := p.rep.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := p.rep.oldest(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.conns.Load(); n > before+1 { // the uploads may have opened one more meanwhile
		t.Errorf("%d connections before, and %d after five looks", before, n)
	}
	s.hang.Store(true)
	began := time.Now()
	if err := p.rep.confirmLease(t.Context()); err == nil || fenced(err) {
		t.Errorf("a look at the lease that hangs: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it is given up after %s", took)
	}
	s.hang.Store(false)
	mustEnd(t, p)
}

// TestWrittenDuringListing: a file that this process writes while the replica is being listed is its own at the next
// listing too, whether it was new or is written again.
func TestWrittenDuringListing(t *testing.T) {
	t.Parallel()
	const bytes = 100
	name := fileName{1, 1, 2}
	listed := []restore.File{{Level: 1, Min: 1, Max: 2, Bytes: bytes}}
	for what, before := range map[string]func(r *Replicator){
		"new":                   func(*Replicator) {},
		"being written":         func(r *Replicator) { r.rememberWritten(name, unknownLength) },
		"known, and since lost": func(r *Replicator) { r.rememberWritten(name, bytes) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := New(ReplicatorConfig{})
			r.rememberListed(nil)
			before(r)
			known := r.knownNames()
			r.rememberWritten(name, unknownLength)
			r.rememberWritten(name, bytes)
			if found := r.unknownFiles(nil, known); len(found) > 0 {
				t.Errorf("an empty listing has %v", found)
			}
			if found := r.unknownFiles(listed, r.knownNames()); len(found) > 0 {
				t.Errorf("the next listing has files of another writer: %v", found)
			}
			r.unknownFiles(nil, r.knownNames()) // the file is gone
			if found := r.unknownFiles(listed, r.knownNames()); len(found) != 1 {
				t.Errorf("a file that comes back by itself is not reported: %v", found)
			}
		})
	}
}

// TestFewConnections: to list, plan, verify and restore a replica again and again opens no connection per segment:
// Litestream's SFTP client can't close one.
func TestFewConnections(t *testing.T) {
	t.Parallel()
	s, cfg := newStore(t, "sftp"), liveConfig(t)
	own := s.cfg
	own.DB, own.SyncInterval, own.Levels = cfg.DB, cfg.SyncInterval, []time.Duration{time.Hour}
	p := mustBegin(t, own, 0, mustEvents(t, 11, 600))
	feedAll(t, p, 600)
	mustEnd(t, p)
	before := s.conns.Load()
	src := config.PoolOf(own)
	for range 4 {
		if v := restore.Verify(t.Context(), src, restore.VerifyOptions{Scratch: t.TempDir()}); v.Outcome != restore.OK ||
			v.Segments == 0 {
			t.Fatalf("%+v", v)
		}
		if _, err := restore.List(t.Context(), src); err != nil {
			t.Fatal(err)
		}
		if _, err := restore.MakePlan(t.Context(), src, t.TempDir(), restore.Target{}); err != nil {
			t.Fatal(err)
		}
		if _, err := restore.Restore(t.Context(), src, t.TempDir(), restore.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.conns.Load() - before; n > 9 { // as many as are in use at once
		t.Errorf("%d connections for four of each", n)
	}
}
