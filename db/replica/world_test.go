package replica

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/benbjohnson/litestream"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
	"weft.dev/weft/link"
)

// world is an index that is written, and copied to a replica by the steps of a test.
type world struct {
	t      *testing.T
	r      *rand.Rand
	dir    string
	cfg    config.Config
	store  *db.Store
	lite   *litestream.DB // nil: another process replicates
	seq    uint64
	events []apply.Event
	states []state
}

// state is the index as of a batch.
type state struct {
	events int
	log    uint64    // the newest log row
	at     time.Time // no earlier than its last transaction, and earlier than the next one
}

// newWorld begins an index that seals all the time; the log is whole, unless window is set.
func newWorld(t *testing.T, cfg config.Config, seed uint64, window time.Duration) *world {
	t.Helper()
	w := newIndex(t, cfg, seed, window)
	if err := claim(t.Context(), config.PoolOf(cfg), w.store.Instance()); err != nil {
		t.Fatal(err)
	}
	client, err := cfg.Client("")
	if err != nil {
		t.Fatal(err)
	}
	w.lite = newLite(filepath.Join(w.dir, "weft.db"), client)
	if err := w.lite.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.lite.Close(context.Background()) })
	return w
}

// newIndex is newWorld without anybody who replicates.
func newIndex(t *testing.T, cfg config.Config, seed uint64, window time.Duration) *world {
	t.Helper()
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 6)), dir: t.TempDir(), cfg: cfg}
	var err error
	var clock atomic.Int64 // seconds: each look at it takes one
	w.store, err = db.Open(db.Config{Dir: w.dir, SealBytes: 4 << 10, CacheBytes: 1 << 16, ReplayWindow: window,
		Checkpoint: off(t),
		Now:        func() time.Time { return time.Unix(1_770_000_000+clock.Add(1), 0) }, Failpoint: w.step})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if w.store != nil {
			_ = w.store.Close()
		}
	})
	return w
}

// newLite is a Litestream that does what it is told to, and nothing by itself.
func newLite(path string, client litestream.ReplicaClient) *litestream.DB {
	lite := litestream.NewDB(path)
	lite.SetLogger(slog.New(slog.DiscardHandler))
	lite.MonitorInterval = 0
	lite.Replica = litestream.NewReplicaWithClient(lite, client)
	lite.Replica.MonitorEnabled = false
	return lite
}

func off(t *testing.T) checkpoint.Rule {
	t.Helper()
	rule, err := checkpoint.Parse("off")
	if err != nil {
		t.Fatal(err)
	}
	return rule
}

// step uploads each segment before the manifest names it.
func (w *world) step(name string) error {
	if name != "enter" {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(w.dir, "segments", "*.weft"))
	if err != nil {
		return err
	}
	for _, file := range files {
		client, err := w.cfg.Client(config.SegmentSub(filepath.Base(file)))
		if err != nil {
			return err
		}
		if _, err := Upload(w.t.Context(), client, file, nil); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// write applies a batch and uploads what it wrote.
func (w *world) write() {
	w.t.Helper()
	var batch []apply.Event
	for range 5 + w.r.IntN(60) {
		w.seq++
		us := int64(1_760_000_000_000_000 + w.seq*1_000_000)
		op := []db.Op{db.OpCreate, db.OpCreate, db.OpCreate, db.OpUpdate, db.OpDelete}[w.r.IntN(5)]
		e := apply.Event{Seq: w.seq, TimeUS: us, Op: op, DID: fmt.Sprintf("did:plc:%024d", w.r.IntN(20)),
			Collection: "app.bsky.feed.like",
			Rkey:       string(link.AppendTID(nil, uint64(1_760_000_000_000_000+w.r.IntN(200))<<10)),
			Rev:        string(link.AppendTID(nil, uint64(us)<<10))}
		if op != db.OpDelete {
			e.Links = []db.Link{{Path: "subject.uri", Target: fmt.Sprintf("https://example.com/%d", w.r.IntN(30))}}
		}
		batch = append(batch, e)
	}
	if _, err := w.store.Apply(db.Batch{Host: "test", Events: batch}); err != nil {
		w.t.Fatal(err)
	}
	w.events = append(w.events, batch...)
	w.sync()
	st, err := w.store.Stats(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	w.states = append(w.states, state{len(w.events), st.LastSeq, nextMillisecond()})
}

// nextMillisecond waits until the clock shows another one: what Litestream writes down of times ends there.
func nextMillisecond() time.Time {
	for began := time.Now().Truncate(time.Millisecond); ; {
		if now := time.Now().Truncate(time.Millisecond); now.After(began) {
			return now
		}
	}
}

func (w *world) sync() {
	w.t.Helper()
	if w.lite == nil {
		w.await()
	} else if err := w.lite.SyncAndWait(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// await waits until whoever replicates has uploaded all.
func (w *world) await() {
	w.t.Helper()
	st, err := w.store.Stats(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	client, err := w.cfg.Client("")
	if err != nil {
		w.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		files, err := restore.ListFiles(w.t.Context(), client)
		if err == nil {
			files, err = restore.Chain(files, restore.Target{})
		}
		var m *db.Manifest
		if err == nil {
			m, _, err = restore.ReadRemoteManifest(w.t.Context(), client, files)
		}
		if err == nil && m.LastSeq >= st.LastSeq {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("log row %d isn't in the replica after a minute: %v", st.LastSeq, err)
		}
	}
}

// compact merges what the level below has, and snapshot writes all of the database.
func (w *world) compact(level int) {
	w.t.Helper()
	if _, err := w.lite.Compact(w.t.Context(), level); err != nil {
		w.t.Fatalf("compact into level %d: %v", level, err)
	}
}

func (w *world) snapshot() {
	w.t.Helper()
	if _, err := w.lite.Snapshot(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// grow writes batches, with merges of all levels and snapshots between, and ends with a gapless chain over all of them.
func (w *world) grow(batches int) {
	w.t.Helper()
	for i := range batches {
		w.write()
		if i%4 == 3 {
			w.compact(1)
		}
		if i%12 == 11 {
			w.compact(2)
		}
		if i%24 == 23 {
			w.compact(3)
		}
		if i%20 == 19 {
			w.snapshot()
		}
	}
}

// stop ends writing, with all of it uploaded.
func (w *world) stop() {
	w.t.Helper()
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.store = nil
}

// at finds the state as of a log row.
func (w *world) at(log uint64) (state, bool) {
	for _, s := range w.states {
		if s.log == log {
			return s, true
		}
	}
	return state{}, false
}

// equalsModel opens a directory that was restored, and compares all that it answers with the model as of its newest log
// row.
func (w *world) equalsModel(dir string) state {
	w.t.Helper()
	s, err := db.Open(db.Config{Dir: dir})
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	st, err := s.Stats(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	as, ok := w.at(st.LastSeq)
	if !ok {
		w.t.Fatalf("it is as of log row %d, at which no batch ended", st.LastSeq)
	}
	var m dbtest.Model
	for _, e := range w.events[:as.events] {
		m.Apply(e)
	}
	if err := m.Compare(w.t.Context(), s, depth(7)); err != nil {
		w.t.Fatalf("as of log row %d: %v", st.LastSeq, err)
	}
	return as
}

// depth is the depth of a comparison: these tests compare often, and one list in five is asked for more than its counts
// and its links. With more -rounds all are.
func depth(page int) dbtest.Depth {
	d := dbtest.Depth{Page: page}
	if *rounds == 1 {
		d.Every = 5
	}
	return d
}

// steps returns how many steps a test of random steps has: all of them with more -rounds, and else as many as
// go test ./... has time for.
func steps(all, few int) int {
	if *rounds > 1 {
		return all
	}
	return few
}

// copyDir copies a replica in a directory, with the times of its files, which are those of the transactions.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		at := filepath.Join(to, path[len(from):])
		if d.IsDir() {
			return os.MkdirAll(at, 0o755)
		}
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }()
		out, err := os.Create(at)
		if err != nil {
			return err
		}
		defer func() { _ = out.Close() }()
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chtimes(at, info.ModTime(), info.ModTime())
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}
