package replica

import (
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/superfly/ltx"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/replica/restore"
)

// unsealed adds a link of a new account to an index, which no segment has.
func unsealed(t *testing.T, dir string) {
	t.Helper()
	s, err := db.Open(db.Config{Dir: dir, Checkpoint: off(t)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(db.Batch{Host: "test", Events: []apply.Event{{Seq: 1 << 30, TimeUS: 1_770_000_000_000_000,
		Op: db.OpCreate, DID: "did:plc:new",
		Collection: "app.bsky.feed.like", Rkey: "3m2qrrgw22222", Rev: "3m2qrrgw22222",
		Links: []db.Link{{Path: "subject.uri", Target: "https://example.com/new"}}}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedBeforeUpload: one wrong bit in a link's target and one wrong byte of a DID that were on the disk before it
// was uploaded, so that the replica's own checksums are right, are found by a verification, a restore and a follower,
// and the moment before them can be restored.
func TestDamagedBeforeUpload(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, damage, want string }{
		{"a bit of a link's target",
			"UPDATE links SET target = CAST(replace(CAST(target AS TEXT), 'example', 'ezample') AS BLOB) " +
				"WHERE id = (SELECT max(id) FROM links)",
			"or their links are damaged"},
		{"a byte of a DID",
			"UPDATE actors SET did = 'did:plc:0000000000000000000000zz' WHERE id = (SELECT max(id) FROM actors)",
			"the names of accounts"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fileConfig(t), 5, time.Minute)
			w.grow(6)
			w.stop()
			unsealed(t, w.dir)
			w.sync()
			good := restore.Verify(t.Context(), w.cfg, restore.VerifyOptions{Scratch: t.TempDir()})
			if good.Outcome != restore.OK {
				t.Fatalf("%+v", good)
			}
			base, err := sql.Open("sqlite", "file:"+filepath.Join(w.dir, "weft.db"))
			if err != nil {
				t.Fatal(err)
			}
			defer base.Close() // the WAL stays: that of the statement is not the last connection
			var n int
			if err := base.QueryRow("SELECT count(*) FROM meta").Scan(&n); err != nil {
				t.Fatal(err)
			}
			dbtest.Statements(tc.damage)(t, w.dir)
			w.sync()
			if v := restore.Verify(t.Context(), w.cfg,
				restore.VerifyOptions{Scratch: t.TempDir()}); v.Outcome != restore.Failed ||
				!strings.Contains(strings.Join(v.Faults, "\n"), tc.want) {
				t.Errorf("verified as %s: %q", v.Outcome, v.Faults)
			}
			if _, err := restore.Restore(t.Context(), w.cfg, t.TempDir(), restore.Options{}); err == nil ||
				!strings.Contains(err.Error(), tc.want) {
				t.Errorf("restored with %v", err)
			}
			if _, err := restore.Restore(t.Context(), w.cfg, t.TempDir(),
				restore.Options{Target: restore.Target{TXID: ltx.TXID(good.TXID)}}); err != nil {
				t.Errorf("the moment before is restored with %v", err)
			}
			f := NewFollower(FollowerConfig{Replica: w.cfg, Dir: t.TempDir()})
			if err = f.Open(t.Context()); err == nil {
				err = errors.Join(errors.New("it shows what is damaged"), f.Close())
			}
			if !errors.Is(err, logrow.ErrDamaged) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("followed with %v", err)
			}
		})
	}
}
