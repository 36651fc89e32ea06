package replica

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/superfly/ltx"

	"weft.dev/weft/db"
	"weft.dev/weft/db/replica/restore"
)

// overwrite gives a file of a replica in a directory other pages, as one of another writer has: each file by itself is
// whole.
func overwrite(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	var out bytes.Buffer
	enc, err := ltx.NewEncoder(&out)
	must(t, err)
	pages := 0
	must(t, restore.ReadLTX(bytes.NewReader(text), int64(len(text)), enc.EncodeHeader,
		func(number uint32, data []byte) error {
			if number > 1 {
				data = bytes.Repeat([]byte{0xa5}, len(data))
				pages++
			}
			return enc.EncodePage(ltx.PageHeader{Pgno: number}, data)
		}))
	must(t, enc.Close())
	if pages == 0 {
		t.Fatal("no page was overwritten")
	}
	info, err := os.Stat(path)
	must(t, err)
	must(t, errors.Join(os.WriteFile(path, out.Bytes(), 0o644), os.Chtimes(path, info.ModTime(), info.ModTime())))
}

// TestRestoreNamesWhole: where files that are whole make a database that isn't, as those of two writers do, the restore
// names the newest moment that is whole, which then can be restored; it puts nothing in place.
func TestRestoreNamesWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fileConfig(t), 4, time.Minute)
	for range 14 {
		w.write()
	}
	w.stop()
	client, err := w.cfg.Client("")
	must(t, err)
	files, err := restore.ListFiles(t.Context(), client)
	must(t, err)
	if len(files) < 14 {
		t.Fatalf("%d files", len(files))
	}
	for _, bad := range []int{len(files) - 1, len(files) - 2, len(files) - 6, 1} {
		cfg, dir := w.cfg, t.TempDir()
		cfg.Path = copyDir(t, w.cfg.Path)
		for _, f := range files[bad:] {
			overwrite(t, w.object(cfg.Path, f))
		}
		_, err := restore.Restore(t.Context(), cfg, dir, restore.Options{})
		want := files[bad-1].Max
		if err == nil || !strings.Contains(err.Error(), "the newest intact state is transaction "+want.String()+": --txid "+
			want.String()) {
			t.Fatalf("from file %d on: %v", bad, err)
		}
		if there := restore.Obstacles(dir, restore.Target{}); len(there) > 0 {
			t.Errorf("%s is there", there[0])
		}
		if _, err := os.Stat(dir + "/" + db.Restoring); err == nil {
			t.Errorf("%s is left", db.Restoring)
		}
		if _, err := restore.Restore(t.Context(), cfg, dir, restore.Options{Target: restore.Target{TXID: want}}); err != nil {
			t.Fatal(err)
		}
	}
}
