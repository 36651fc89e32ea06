package db_test

import (
	"archive/tar"
	"bytes"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/body"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/export"
	"weft.dev/weft/db/inspect"
	"weft.dev/weft/db/keep"
	"weft.dev/weft/link"
)

var freeze = flag.String("freeze", "",
	"write the fixtures testdata/frozen/NAME-*.tar.zst with this build, which later builds have to open")

// frozenKinds are the indexes that are frozen of a build.
var frozenKinds = []struct {
	name    string
	cfg     db.Config
	crashed bool // copied while it is open, with its WAL
}{
	{"whole", db.Config{SealBytes: 12 << 10}, false},
	{"window", db.Config{SealBytes: 12 << 10, ReplayWindow: 10 * time.Minute}, true},
	{"bodies", db.Config{SealBytes: 12 << 10, ReplayWindow: 10 * time.Minute, Bodies: db.BodiesKeep}, false},
	{"kept", db.Config{SealBytes: 12 << 10, ReplayWindow: 10 * time.Minute,
		Keep: must(keep.Parse("app.bsky.feed.like=20m, com.example.*=forever, *=90d"))}, true},
	{"fit", db.Config{SealBytes: 12 << 10, ReplayWindow: 10 * time.Minute,
		Keep:   must(keep.Parse("com.example.*=forever, *=fit")),
		Budget: disk.Budget{Bytes: 1 << 30}, Disk: almostFit}, false},
}

// almostFit has room for the reserve, and some kilobytes less than a budget of 1 GiB wants beside it.
func almostFit(string) (free, total int64, err error) { return 32<<20 + 144<<20, 1 << 30, nil }

// frozenHost is the upstream of the frozen indexes.
const frozenHost = "jetstream.example"

// expectedFile lies in a frozen index beside its files: the cursor, and a line for each link.
const expectedFile = "expected.txt"

// base32Digits makes digits of base32 of decimal ones.
var base32Digits = strings.NewReplacer("0", "a", "1", "b", "8", "c", "9", "d")

// frozenEvents are what a frozen index was fed: a random history, and targets that another build may spell otherwise.
func frozenEvents(seed uint64) (batches [][]apply.Event) {
	h := newHistory(seed)
	for n := range 60 {
		var batch []apply.Event
		for range 12 {
			batch = append(batch, h.next()...)
		}
		for i := range 4 {
			e := h.event("did:plc:"+base32Digits.Replace(fmt.Sprintf("%024d", 1000+4*n+i)), db.OpCreate)
			e.Collection, e.Rkey = "app.bsky.feed.like", h.tid(h.now)
			e.Links = []db.Link{{Path: "subject.uri",
				Target: "at://" + h.dids[i] + "/app.bsky.feed.post/" + h.tid(1_760_000_000_000_000+int64(n%7))}}
			batch = append(batch, e)
		}
		batches = append(batches, batch)
	}
	var odd []apply.Event
	for i, target := range []string{
		"https://example.org", "https://example.org/", "https://example.org:443/", "http://example.org:80/a?b#c",
		"https://b\u00fccher.example/\u00fc", "https://xn--bcher-kva.example/", "https://host.example:8443/p%2Fq",
		"mailto:a@example.org",
		"at://did:web:elsewhere.example/app.bsky.feed.post/self", "did:web:elsewhere.example", "dns:example.org",
	} {
		h.now += 1_000_000
		h.rev = uint64(h.now) << 10
		e := h.event(h.dids[0], db.OpCreate)
		e.Collection, e.Rkey = "com.example.bookmark", fmt.Sprintf("page-%d", i)
		e.Links = []db.Link{{Path: "pages[].address." + strings.Repeat("deep.", i) + "uri", Target: target}}
		e.Body = fmt.Appendf(nil, "a page: %s", target)
		e.CID = body.Sum(e.Body).CID()
		odd = append(odd, e)
	}
	return append(batches[:40:40], append([][]apply.Event{odd}, batches[40:]...)...)
}

// makeFrozen makes an index of a kind with this build, and archives it with what it holds.
func makeFrozen(t *testing.T, seed uint64, cfg db.Config, crashed bool) []byte {
	t.Helper()
	var clock atomic.Int64
	clock.Store(1_770_000_000)
	cfg.Dir = t.TempDir()
	cfg.Now = func() time.Time { return time.Unix(clock.Load(), 0) }
	if crashed { // some commits are in its WAL alone
		cfg.Checkpoint = must(checkpoint.Parse("80 frames"))
	}
	s := openWith(t, cfg)
	for _, batch := range frozenEvents(seed) {
		if _, err := s.Apply(db.Batch{Host: frozenHost, Events: batch}); err != nil {
			t.Fatal(err)
		}
		clock.Add(90)
		if cfg.Keep.Bounded() {
			if err := s.PruneTick(); err != nil {
				t.Fatal(err)
			}
		}
		for s.Sealing() {
			runtime.Gosched()
		}
	}
	untilNoJobs(t, s)
	untilCompacted(t, s)
	frozen := cfg.Dir
	if crashed {
		frozen = t.TempDir()
		if err := os.CopyFS(frozen, os.DirFS(cfg.Dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(frozen, "weft.db-shm")); err != nil {
			t.Fatal(err)
		}
	}
	cursor := s.Cursor(frozenHost)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	lines := append([]string{fmt.Sprintf("cursor %d", cursor)}, frozenLines(t, cfg.Dir)...)
	if err := os.WriteFile(filepath.Join(frozen, expectedFile), []byte(strings.Join(lines, "\n")+"\n"),
		0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(frozen, "weft.lock")); err != nil {
		t.Fatal(err)
	}
	return archive(t, frozen)
}

// archive packs a directory.
func archive(t *testing.T, dir string) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	err = w.AddFS(os.DirFS(dir))
	if err := errors.Join(err, w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// thaw unpacks a fixture into a directory of its own, and gives what it must hold.
func thaw(t *testing.T, path string) (dir string, cursor uint64, lines []string) {
	t.Helper()
	packed, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	z, err := zstd.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	dir = t.TempDir()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	expected, err := os.ReadFile(filepath.Join(dir, expectedFile))
	if err != nil {
		t.Fatal(err)
	}
	lines = strings.Split(strings.TrimSuffix(string(expected), "\n"), "\n")
	if _, err := fmt.Sscanf(lines[0], "cursor %d", &cursor); err != nil {
		t.Fatal(err)
	}
	return dir, cursor, lines[1:]
}

// frozenLines is all links of an index, a line for each: the account's status, the record, the path, the rank in
// microseconds, the CID of the body that is kept, and the target.
func frozenLines(t *testing.T, dir string) (lines []string) {
	t.Helper()
	e, err := export.Open(t.Context(), dir, export.Options{Inactive: true, Bodies: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for r, err := range e.Records(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		cid := "-"
		if r.Body.CBOR != nil {
			cid = body.Sum(r.Body.CBOR).CID()
		}
		for _, l := range r.Links {
			lines = append(lines, fmt.Sprintf("%d %s %s %d %s %s", r.Status, r.URI(), l.Path, l.TimeUS, cid, l.Target))
		}
	}
	return lines
}

// spelled is lines with each target in the spelling of this build, in order.
func spelled(lines []string) []string {
	var out []string
	for _, line := range lines {
		at := strings.LastIndexByte(line, ' ') + 1
		if target, kind := link.Parse(line[at:]); kind != link.None {
			line = line[:at] + target
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestFrozenIndexes: this build opens each index that an older one has left, brings it up to date, has all that was in
// it, takes events, and finds nothing wrong with it.
func TestFrozenIndexes(t *testing.T) {
	if *freeze != "" {
		for i, k := range frozenKinds {
			packed := makeFrozen(t, uint64(i)+1, k.cfg, k.crashed)
			path := filepath.Join("testdata", "frozen", *freeze+"-"+k.name+".tar.zst")
			if err := os.WriteFile(path, packed, 0o644); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %d bytes", path, len(packed))
		}
	}
	t.Parallel()
	for _, path := range frozenFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".tar.zst"), func(t *testing.T) {
			t.Parallel()
			dir, cursor, want := thaw(t, path)
			cfg := db.Config{Dir: dir}
			for _, k := range frozenKinds {
				if strings.HasSuffix(path, "-"+k.name+".tar.zst") {
					cfg.ReplayWindow, cfg.Bodies = k.cfg.ReplayWindow, k.cfg.Bodies
				}
			}
			var log logBuffer
			cfg.Logger = logTo(&log)
			s := openWith(t, cfg)
			if got := s.Cursor(frozenHost); got != cursor {
				t.Errorf("the cursor is %d, and was %d", got, cursor)
			}
			if text := log.String(); strings.Contains(text, "rebuilding") {
				t.Errorf("the segments were not taken: %s", text)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if got := frozenLines(t, dir); !slices.Equal(spelled(got), spelled(want)) {
				t.Errorf("it has %d links, and had %d", len(got), len(want))
			}
			for range 2 {
				s = openWith(t, cfg)
				if _, err := s.Apply(db.Batch{Host: frozenHost, Events: frozenMore(cursor)}); err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				checkAll(t, dir)
			}
		})
	}
}

// TestUpgradedChecksums: an index of an older weft is covered by checksums from the first start on, the rows that were
// there before among them, whether its log is whole or pruned, and whatever comes afterwards.
func TestUpgradedChecksums(t *testing.T) {
	t.Parallel()
	for _, path := range frozenFiles(t) {
		if !strings.HasPrefix(filepath.Base(path), "schema4-") {
			// it had checksums when it was written: the oldest minute of a pruned log has them in segments only
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			dir, cursor, _ := thaw(t, path)
			s := openWith(t, db.Config{Dir: dir})
			if _, err := s.Apply(db.Batch{Host: frozenHost, Events: frozenMore(cursor)}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for _, damage := range []string{
				"UPDATE links SET rank = ifnull(rank, 0) + 1 WHERE id = (SELECT min(id) FROM links)",
				"UPDATE links SET rank = ifnull(rank, 0) + 1 WHERE id = (SELECT max(id) FROM links)",
				"UPDATE actors SET did = did || 'a' WHERE id = 1",
				"UPDATE actors SET did = did || 'a' WHERE id = (SELECT max(id) FROM actors)",
			} {
				damaged := t.TempDir()
				if err := os.CopyFS(damaged, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				if faults := must(check.File(t.Context(), filepath.Join(damaged, "weft.db"))); len(faults) > 0 {
					t.Fatalf("before any damage: %v", faults)
				}
				dbtest.Statements(damage)(t, damaged)
				if faults := must(check.File(t.Context(), filepath.Join(damaged, "weft.db"))); len(faults) != 1 ||
					!strings.Contains(faults[0], "wrong checksum") {
					t.Errorf("after %s: %v", damage, faults)
				}
			}
		})
	}
}

// frozenMore is an event behind a cursor.
func frozenMore(cursor uint64) []apply.Event {
	return []apply.Event{{Seq: cursor + 1, TimeUS: 1_780_000_000_000_000, Op: db.OpCreate,
		DID: "did:plc:" + strings.Repeat("z", 24),
		Rev: string(link.AppendTID(nil, 1_780_000_000_000_000<<10)), Collection: "app.bsky.feed.like", Rkey: "later",
		Links: []db.Link{{Path: "subject.uri", Target: "https://example.com/later"}}}}
}

// checkAll expects that a check of everything finds nothing.
func checkAll(t *testing.T, dir string) {
	t.Helper()
	r, err := check.Run(t.Context(), dir, check.Options{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Problems {
		t.Errorf("%s: %s", p.Kind, p.Text)
	}
}

func frozenFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "frozen", "*.tar.zst"))
	if err != nil || len(files) < len(frozenKinds) {
		t.Fatalf("%d fixtures, %v", len(files), err)
	}
	return files
}

// TestNextSchema: an index of a schema that is newer than this build's is refused by its number, and no byte of it
// changes, whether its WAL is empty or not.
func TestNextSchema(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		wal  bool
	}{{"closed", false}, {"crashed", true}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir, next := nextSchema(t, tc.wal)
			before := contents(t, dir)
			for name, look := range map[string]func() error{
				"open": func() error {
					s, err := db.Open(db.Config{Dir: dir, ReplayWindow: time.Minute})
					if err == nil {
						err = s.Close()
					}
					return err
				},
				"check": func() error {
					_, err := check.Run(t.Context(), dir, check.Options{})
					return err
				},
				"stats": func() error {
					_, err := inspect.Run(t.Context(), dir)
					return err
				},
				"follow": func() error {
					f, err := db.OpenFollower(db.FollowerConfig{Dir: dir})
					if err == nil {
						err = f.Close()
					}
					return err
				},
			} {
				if err := look(); err == nil || !strings.Contains(err.Error(),
					fmt.Sprintf("the schema is version %d and this weft knows up to %d", next, next-1)) {
					t.Errorf("%s: %v", name, err)
				}
				for path, was := range before {
					if now := contents(t, dir)[path]; now != was {
						t.Errorf("%s changed %s", name, path)
					}
				}
			}
		})
	}
}

// nextSchema makes an index of the schema that comes after this build's. With wal, what makes it so is in its WAL
// alone.
func nextSchema(t *testing.T, wal bool) (dir string, next int) {
	t.Helper()
	dir, _, _ = thaw(t, frozenFiles(t)[0])
	openWith(t, db.Config{Dir: dir}).Close()
	base, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db")+"?_pragma=wal_autocheckpoint(0)")
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	base.SetMaxOpenConns(1)
	if err := base.QueryRow("SELECT max(version_id) + 1 FROM goose_db_version").Scan(&next); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		fmt.Sprintf("INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, 1)", next),
		"ALTER TABLE log ADD COLUMN of_a_later_weft ANY",
		"INSERT INTO meta (key, value) VALUES ('migration:later.sql', 'x')",
	} {
		if _, err := base.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	if !wal {
		return dir, next
	}
	crashed := t.TempDir()
	if err := os.CopyFS(crashed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(crashed, "weft.db-shm")); err != nil {
		t.Fatal(err)
	}
	return crashed, next
}

// contents is the files of a directory by their paths, but those that hold nothing of the index: the lock, and the map
// of the WAL that SQLite makes for readers.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == "weft.lock" || path == "weft.db-shm" {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		all[path] = string(data)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}
