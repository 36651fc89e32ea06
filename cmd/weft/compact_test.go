package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

// segmented opens an index that seals every event, and gives it four links.
func segmented(t *testing.T, dir string) *db.Store {
	t.Helper()
	s, err := db.Open(db.Config{Dir: dir, SealBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for seq := uint64(1); seq <= 4; seq++ {
		rev := string(link.AppendTID(nil, seq<<10))
		_, err := s.Apply(db.Batch{Host: "h", Events: []apply.Event{{Seq: seq, TimeUS: int64(seq), Op: db.OpCreate,
			DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Rev: rev, Rkey: rev, Collection: "app.bsky.feed.like",
			Links: []db.Link{{Path: "subject.uri", Target: "https://example.com/"}}}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestCompactCommand: the command compacts a stopped index itself and a running one over its socket, also if the path
// is too long for a socket. It replaces the socket of a killed process. The mode of the socket is 0600, and weft
// removes it at its end.
func TestCompactCommand(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, dir string }{{"short path", "data"}, {"long path", strings.Repeat("long/", 40)}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), tc.dir)
			store := segmented(t, dir)
			socket := filepath.Join(dir, socketName)
			if err := os.WriteFile(socket, nil, 0o644); err != nil { // of a weft that was killed
				t.Fatal(err)
			}
			code, _, stderr := weft(t.Context(), "compact", "--data", dir)
			if code != 1 || !strings.Contains(stderr, "ask the weft that has "+dir+" open") ||
				!strings.Contains(stderr, "try again when it serves") {
				t.Errorf("without a socket: code %d, %s", code, stderr)
			}
			c := startControl(dir, store, slog.New(slog.DiscardHandler))
			if c == nil {
				t.Fatal("no socket")
			}
			info, err := os.Stat(socket)
			if err != nil || info.Mode() != os.ModeSocket|0o600 {
				t.Fatalf("the socket is %v, %v", info, err)
			}
			code, stdout, stderr := weft(t.Context(), "compact", "--data", dir)
			if code != 0 || !strings.HasPrefix(stdout, "compacted ") && !strings.HasPrefix(stdout, "nothing to compact") ||
				!strings.Contains(stderr, "asked the running weft") {
				t.Errorf("code %d, %q, %q", code, stdout, stderr)
			}
			if sp, err := store.Space(t.Context()); err != nil || fileCount(sp) > 2 { // the last seal may have ended
				t.Errorf("%d segments, %v", fileCount(sp), err)
			}
			c.stop()
			if _, err := os.Lstat(socket); !os.IsNotExist(err) {
				t.Errorf("the socket is left: %v", err)
			}
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr = weft(t.Context(), "compact", "--data", dir)
			if code != 0 || stderr != "" {
				t.Errorf("a stopped index: code %d, %q, %q", code, stdout, stderr)
			}
			code, stdout, _ = weft(t.Context(), "compact", "--data", dir)
			if code != 0 || stdout != "nothing to compact: the index has one segment at most\n" {
				t.Errorf("again: code %d, %q", code, stdout)
			}
			if code, stdout, _ := weft(t.Context(), "check", "--all", "--data", dir); code != 0 {
				t.Errorf("check: %s", stdout)
			}
		})
	}
}

func fileCount(sp db.Space) (n int) {
	for _, l := range sp.Levels {
		n += l.Files
	}
	return n
}

// TestCompactRefused: a directory without an index, and a call that is interrupted while it waits for a running weft.
func TestCompactRefused(t *testing.T) {
	t.Parallel()
	code, _, stderr := weft(t.Context(), "compact", "--data", t.TempDir())
	if code != 1 || !strings.Contains(stderr, "there is no weft.db in it") {
		t.Errorf("no index: code %d, %s", code, stderr)
	}
	dir := t.TempDir()
	segmented(t, dir)
	l, err := net.Listen("unix", filepath.Join(dir, socketName)) // never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, _ = conn.Read(make([]byte, 1))
			cancel()
			_ = conn.Close()
		}
	}()
	code, _, stderr = weft(ctx, "compact", "--data", dir)
	if code != 1 || stderr != "weft: interrupted: the running weft goes on with the compaction\n" {
		t.Errorf("interrupted: code %d, %s", code, stderr)
	}
}
