package schema

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/migrations"
)

// TestPackLog: the log of an older schema has the same rows and links in blocks, also where a process was killed while
// it packed them, and the table has the newest log row that there ever was.
func TestPackLog(t *testing.T) {
	t.Parallel()
	const rows = 10_000
	for _, version := range []int64{10, 11} {
		for _, killed := range []int64{0, 1, 5000} {
			t.Run(fmt.Sprintf("schema %d, killed after %d rows", version, killed), func(t *testing.T) {
				t.Parallel()
				base := openAt(t, version)
				want := oldRows(t, base, version, 77, rows)
				if killed > 0 {
					p := provider(t, base)
					if _, err := p.UpTo(t.Context(), rowsSchema); err != nil {
						t.Fatal(err)
					}
					if n, err := packSome(base, killed); err != nil || n < killed || n == rows {
						t.Fatalf("%d rows are packed, %v", n, err)
					}
				}
				if err := Migrate(t.Context(), base, slog.New(slog.DiscardHandler)); err != nil {
					t.Fatal(err)
				}
				var got logrow.Rows
				if err := logrow.Scan(t.Context(), base, 0, logrow.MaxSeq, func(part logrow.Rows) error {
					got = logrow.Rows{Log: append(got.Log, part.Log...), Links: append(got.Links, part.Links...)}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%d rows and %d links, and they are others than the %d and %d", len(got.Log), len(got.Links),
						len(want.Log), len(want.Links))
				}
				var seq, links int
				if err := base.QueryRow("SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'log'), sum(links) FROM log").
					Scan(&seq, &links); err != nil || seq != 76+rows || links != len(want.Links) {
					t.Errorf("the log's sequence is at %d, and it has %d links, %v", seq, links, err)
				}
			})
		}
	}
}

// TestPackDamaged: a start does not go beyond a row of an older schema that has a value that none has, names it, and
// drops nothing.
func TestPackDamaged(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ damage, want string }{
		{"UPDATE records SET op = -1 WHERE seq = 9", "log row 9"},
		{"UPDATE records SET rkey = x'00' WHERE seq = 9", "log row 9"},
		{"UPDATE records SET target = NULL WHERE source IS NOT NULL AND seq = 9", "log row 9"},
		{"DELETE FROM records WHERE seq = 11", "belongs to no log row"},
		{"UPDATE more_links SET op = 7", "link row"},
		{"UPDATE more_links SET id = id + 100", "is link 0 of log row"},
	} {
		t.Run(tc.damage, func(t *testing.T) {
			t.Parallel()
			base := openAt(t, 11)
			oldRows(t, base, 11, 1, 20)
			if _, err := base.Exec(tc.damage); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				err := Migrate(t.Context(), base, slog.New(slog.DiscardHandler))
				if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "weft restore") {
					t.Errorf("migrated with %v", err)
				}
			}
			var rows int
			if err := base.QueryRow("SELECT count(*) FROM records").Scan(&rows); err != nil || rows < 19 {
				t.Errorf("%d rows are left, %v", rows, err)
			}
		})
	}
}

func openAt(t testing.TB, version int64) *sql.DB {
	t.Helper()
	base, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "weft.db")+"?_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = base.Close() })
	base.SetMaxOpenConns(1)
	if _, err := provider(t, base).UpTo(context.Background(), version); err != nil {
		t.Fatal(err)
	}
	return base
}

func provider(t testing.TB, base *sql.DB) *goose.Provider {
	t.Helper()
	p, err := goose.NewProvider(goose.DialectSQLite3, base, migrations.FS, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// oldRows inserts log rows of a schema from 10 to 11, and returns them: creates, deletes, records with a key that is no
// TID and two links, and syncs.
func oldRows(t testing.TB, base *sql.DB, version int64, first, n uint64) (rows logrow.Rows) {
	t.Helper()
	tx, err := base.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := tx.Exec(query, args...); err != nil {
			t.Fatal(err)
		}
	}
	links := map[int64]string{10: "links", 11: "more_links"}[version]
	for seq := first; seq < first+n; seq++ {
		r := logrow.Row{Seq: seq, TimeUS: int64(1e15 + seq), Op: logrow.OpCreate, Actor: seq % 7, Collection: 3,
			Rkey: codec.AppendTIDRkey(nil, 1<<60+seq), Rev: 1<<63 + seq}
		target := bytes.Repeat([]byte{byte(seq)}, 1+int(seq%50))
		link := logrow.LinkRow{ID: seq << logrow.LinkShift, Op: codec.Linked, Source: 4, Target: target, Rank: -1}
		switch seq % 4 {
		case 0:
			r.Op = logrow.OpDelete
			link.Op = codec.Unlinked
		case 1:
			r.Op, r.Status = logrow.OpUpdate, 1
		case 2:
			r.Op, r.Collection, r.Rkey = logrow.OpSync, 0, nil
		case 3:
			r.Rkey = codec.AppendRkey(nil, "self")
		}
		rows.Log = append(rows.Log, r)
		var rkey, collection, status any
		switch {
		case r.Rkey == nil:
		case codec.IsTID(r.Rkey):
			rkey = int64(1<<60 + seq)
		default:
			rkey = codec.RkeyString(r.Rkey)
		}
		if r.Collection != 0 {
			collection = int64(r.Collection)
		}
		if r.Status != 0 {
			status = int64(r.Status)
		}
		rev := int64(r.Rev)
		exec("INSERT INTO records (seq, time_us, op, actor, collection, rkey, rev, status) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			int64(seq), r.TimeUS, int64(r.Op), int64(r.Actor), collection, rkey, rev, status)
		switch {
		case r.Rkey == nil:
		case seq%4 == 3: // two links with ranks
			for k := range uint64(2) {
				l := link
				l.ID += k
				l.Op = byte(k)
				l.Rank = int64(seq)
				rows.Links = append(rows.Links, l)
				exec("INSERT INTO "+links+" (id, op, source, target, rank) VALUES (?, ?, ?, ?, ?)", int64(l.ID), int64(l.Op),
					int64(l.Source), target, l.Rank)
			}
		case version == 11:
			rows.Links = append(rows.Links, link)
			exec("UPDATE records SET source = ?, target = ? WHERE seq = ?", int64(link.Source), target, int64(seq))
		default:
			rows.Links = append(rows.Links, link)
			exec("INSERT INTO links (id, op, source, target) VALUES (?, ?, ?, ?)", int64(link.ID), int64(link.Op),
				int64(link.Source), target)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	return rows
}
