package db

import (
	"errors"
	"sync"
	"testing"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dirlock"
	"weft.dev/weft/db/index"
	"weft.dev/weft/link"
)

// TestReadOnlyBesideWriter: a directory opens for reading beside the weft that writes it, sees each of its commits,
// reads the segment files that it has opened after a compaction has replaced them, and doesn't hold up the writer. An
// exclusive opening is refused.
func TestReadOnlyBesideWriter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	replaced := make(chan struct{})
	var once sync.Once
	s, err := Open(Config{Dir: dir, SealBytes: 1, Failpoint: func(name string) error {
		if name == "unlink" {
			once.Do(func() { close(replaced) })
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	source := Source{Collection: "app.bsky.feed.like", Path: "subject.uri"}
	const target = "https://example.com/"
	seq := uint64(0)
	commit := func() {
		t.Helper()
		seq++
		rev := string(link.AppendTID(nil, seq<<10))
		e := apply.Event{Seq: seq, TimeUS: int64(seq), Op: OpCreate, DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Rev: rev,
			Rkey:       rev,
			Collection: source.Collection, Links: []Link{{Path: source.Path, Target: target}}}
		if _, err := s.Apply(Batch{Host: "h", Events: []apply.Event{e}}); err != nil {
			t.Fatal(err)
		}
	}
	sealed := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for s.sealing != nil || len(s.core.Snapshot().Files.Files) == 0 {
			s.sealed.Wait()
		}
	}
	commit()
	sealed()
	if _, err := OpenReadOnly(dir, true); !errors.Is(err, dirlock.ErrLocked) {
		t.Errorf("beside a weft, an exclusive opening returns %v, want ErrLocked", err)
	}
	r, err := OpenReadOnly(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if r.Instance() != s.Instance() {
		t.Errorf("the index is %s, want %s", r.Instance(), s.Instance())
	}
	rows, err := index.ReadManifestRows(t.Context(), r.core.Reader)
	if err != nil || len(rows) == 0 {
		t.Fatalf("%d segments: %v", len(rows), err)
	}
	var files []*index.File
	for _, row := range rows {
		f, err := r.core.OpenSegment(row)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	r.core.SetSnapshot(r.core.Base(files))
	held, err := r.CountLinks(t.Context(), target, source)
	if err != nil || held < 1 {
		t.Fatalf("%d links in segments: %v", held, err)
	}
	for range compactionFanOut {
		commit()
		_, newest, err := r.LogRange(t.Context())
		if err != nil || newest != s.Seq() {
			t.Errorf("the log ends at row %d beside the writer, want %d: %v", newest, s.Seq(), err)
		}
	}
	<-replaced // the first of the files is about to be unlinked
	if n, err := r.CountLinks(t.Context(), target, source); err != nil || n != held {
		t.Errorf("%d links in the same segments after a compaction, want %d: %v", n, held, err)
	}
	if err := s.Checkpoint(); err != nil {
		t.Errorf("the reader holds the WAL between its queries: %v", err)
	}
}

// TestPinBeginsAgain: a compaction that replaces files between the reading of the manifest and their opening makes Pin
// begin again; a file that the manifest goes on to name is reported as missing.
func TestPinBeginsAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(Config{Dir: dir, SealBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	r, err := OpenReadOnly(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if !r.Beside() {
		t.Error("the reader does not see the writer")
	}
	sealOne(t, s, 1)
	calls := 0
	var first, last []index.ManifestRow
	if err := r.Pin(t.Context(), func(rows []index.ManifestRow) (missing bool, err error) {
		calls++
		last = rows
		if calls > 1 {
			return false, nil
		}
		first = rows
		sealOne(t, s, 2) // as after a compaction, the manifest is another one
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	if calls != 2 || len(last) <= len(first) {
		t.Errorf("%d calls, with %d segments and then %d", calls, len(first), len(last))
	}
	r.Unpin()
	calls = 0
	if err := r.Pin(t.Context(), func([]index.ManifestRow) (missing bool, err error) {
		calls++
		return true, nil
	}); err != nil || calls != 1 {
		t.Errorf("a file that the manifest names is missing: %d calls, %v", calls, err)
	}
}
