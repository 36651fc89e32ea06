package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/db/replica"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
)

// smallReplica copies a small index to a replica in a directory. It returns its litestream.yml and that directory.
func smallReplica(t *testing.T) (file, where string) {
	t.Helper()
	dir := smallIndex(t)
	where = filepath.Join(t.TempDir(), "replica")
	file = filepath.Join(t.TempDir(), "litestream.yml")
	text := "dbs:\n  - path: " + filepath.Join(t.TempDir(), "data", "weft.db") + "\n    replica: {type: file, path: " +
		where + "}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := config.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	client, err := c.Client("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := replica.Upload(t.Context(), client, filepath.Join(dir, "weft.db"), nil); err != nil {
		t.Fatal(err)
	}
	return file, where
}

func TestRestoreCommand(t *testing.T) {
	t.Parallel()
	file, _ := smallReplica(t)
	here := t.TempDir()
	for _, tc := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string // in it
	}{
		{"the plan", []string{"restore", "--config", file, "--plan"}, 0, "of disk in ", ""},
		{"restore", []string{"restore", "--config", file, "--data", here}, 0, "as of transaction 0000000000000001",
			"weft.db: "},
		{"it is there", []string{"restore", "--config", file, "--data", here}, 1, "", "already has weft.db"},
		{"with force", []string{"restore", "--config", file, "--data", here, "--force"}, 0,
			"the old files are in " + here + "/before-restore-", ""},
		{"where the configuration says", []string{"restore", "--config", file}, 0, "log row 5 of 2026-02-02", ""},
		{"a transaction", []string{"restore", "--config", file, "--data", t.TempDir(), "--txid", "1"}, 0,
			"transaction 0000000000000001", ""},
		{"one that isn't there", []string{"restore", "--config", file, "--data", t.TempDir(), "--txid", "2"}, 1, "",
			"--txid 0000000000000001 restores the newest"},
		{"a moment before all", []string{"restore", "--config", file, "--data", t.TempDir(), "--timestamp",
			"2020-01-01T00:00:00Z"}, 1, "", "nothing before 2020-01-01T00:00:00.000Z"},
		{"no moment", []string{"restore", "--config", file, "--timestamp", "yesterday"}, 2, "",
			"--timestamp must be a time such as"},
		{"no transaction", []string{"restore", "--config", file, "--txid", "xyz"}, 2, "",
			"--txid: a transaction is up to 16 hexadecimal digits"},
		{"two moments", []string{"restore", "--config", file, "--txid", "1", "--timestamp", "2026-01-01T00:00:00Z"}, 2, "",
			"remove one"},
		{"no configuration", []string{"restore", "--config", filepath.Join(here, "missing.yml")}, 2, "",
			"give the litestream.yml of the replica with --config"},
		{"an argument too many", []string{"restore", "now"}, 2, "", "restore takes no argument"},
		{"list", []string{"replica", "list", "--config", file}, 0, "\nRestorable\n", ""},
		{"list, a flag that is none", []string{"replica", "list", "--jsno"}, 2, "", "Try: weft replica list --help"},
		{"replica, a command that is none", []string{"replica", "lst"}, 2, "", `unknown command "replica lst"`},
		{"verify", []string{"verify", "--config", file, "--scratch", t.TempDir()}, 0, "ok: ", "weft.db: "},
		{"verify, no scratch place", []string{"verify", "--config", file, "--scratch", filepath.Join(here, "missing")}, 3,
			"inconclusive: ", "could not be verified"},
		{"verify, no size", []string{"verify", "--config", file, "--segment-bytes", "much"}, 2, "",
			"--segment-bytes must be a size such as 10GB"},
	} {
		code, stdout, stderr := weft(t.Context(), tc.args...)
		if code != tc.code || !strings.Contains(stdout, tc.stdout) || !strings.Contains(stderr, tc.stderr) {
			t.Errorf("%s: exit code %d\nstdout %s\nstderr %s", tc.name, code, stdout, stderr)
		}
	}
	if code, stdout, stderr := weft(t.Context(), "check", "--data", here, "--all"); code != 0 {
		t.Errorf("the restored index: %s%s", stdout, stderr)
	}
}

// TestVerifyCommand: a fault is reported, in JSON too, with its own exit code.
func TestVerifyCommand(t *testing.T) {
	t.Parallel()
	file, where := smallReplica(t)
	object := filepath.Join(where, "ltx", "9", "0000000000000001-0000000000000001.ltx")
	b, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(object, b, 0o644); err != nil {
		t.Fatal(err)
	}
	code, stdout, _ := weft(t.Context(), "verify", "--config", file, "--scratch", t.TempDir())
	if code != 1 || !strings.HasPrefix(stdout, "failed: ") || !strings.Contains(stdout, filepath.Base(object)) {
		t.Errorf("exit code %d, %s", code, stdout)
	}
	code, stdout, _ = weft(t.Context(), "verify", "--config", file, "--scratch", t.TempDir(), "--json")
	var v restore.Verification
	if err := json.Unmarshal([]byte(stdout), &v); code != 1 || err != nil || v.Outcome != restore.Failed ||
		len(v.Faults) == 0 {
		t.Errorf("exit code %d, %v, %s", code, err, stdout)
	}
	code, stdout, _ = weft(t.Context(), "replica", "list", "--config", file, "--json")
	var l restore.Listing
	if err := json.Unmarshal([]byte(stdout), &l); code != 0 || err != nil || len(l.Snapshots) != 1 {
		t.Errorf("exit code %d, %v, %s", code, err, stdout)
	}
	if err := errors.Join(os.RemoveAll(where)); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := weft(t.Context(), "replica", "list", "--config", file); code != 1 ||
		!strings.Contains(stderr, "the replica is empty") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// TestTransfer: one line per part, and one of at most 80 columns on a terminal.
func TestTransfer(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	bar := newTransfer(&out)
	for i := range 1000 {
		bar.tick(restore.Progress{What: "weft.db", Done: int64(i), All: 2000})
	}
	bar.tick(restore.Progress{What: "segments/1-2-ABC.weft", Done: 1000, All: 2000})
	bar.tick(restore.Progress{What: "segments/3-4-ABC.weft", Done: 1500, All: 2000})
	bar.end()
	if got := out.String(); got != "weft.db: 0 B of 2.0 kB\nsegments: 1.0 kB of 2.0 kB\n" {
		t.Errorf("%q", got)
	}
	for _, p := range []restore.Progress{{}, {What: "segments/1234567890-1234567890-ABCDEFGHIJKL.weft",
		Done: 999_900_000_000, All: 999_900_000_000}} {
		if line := transferBar(p, time.Hour); len(line) > 80 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
}
