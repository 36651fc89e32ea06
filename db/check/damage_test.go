package check_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weft.dev/weft/db/check"
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/segment"
)

type entry struct{ key, value []byte }

// slicedEntries implements the entries that segment.Write reads.
type slicedEntries struct {
	all []entry
	at  int
}

func (e *slicedEntries) Next() (bool, error) { e.at++; return e.at <= len(e.all), nil }
func (e *slicedEntries) Key() []byte         { return e.all[e.at-1].key }
func (e *slicedEntries) Value() []byte       { return e.all[e.at-1].value }

// rewrite replaces the n-th segment of the manifest by a different one, as a faulty writer would.
func rewrite(t *testing.T, dir string, n int, kinds map[int]segment.Kind, change func(id int, all []entry) []entry) {
	t.Helper()
	base, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	var id, from, to int64
	var name, instance string
	if err := base.QueryRow(
		"SELECT segments.id, file, from_seq, to_seq, value FROM segments, meta WHERE key = 'instance' ORDER BY from_seq LIMIT 1 OFFSET ?", n).Scan(
		&id, &name, &from, &to, &instance); err != nil {
		t.Fatal(err)
	}
	old, err := segment.Open(filepath.Join(dir, "segments", name), index.RunKinds, segment.NewCache(0))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	var inputs []segment.Input
	for _, id := range index.RunIDs {
		w, err := old.Run(id).Iterate(nil, nil, false)
		var all []entry
		for more := w != nil; more && err == nil; more, err = w.Next() {
			all = append(all, entry{bytes.Clone(w.Key()), bytes.Clone(w.Value())})
		}
		if err != nil {
			t.Fatal(err)
		}
		all = change(id, all)
		slices.SortFunc(all, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
		inputs = append(inputs, segment.Input{ID: id, Kind: kinds[id], Entries: &slicedEntries{all: all}})
	}
	wrong := "wrong-" + name
	info, err := segment.Write(filepath.Join(dir, "segments", wrong), map[string]string{
		"from_seq": strconv.FormatInt(from, 10), "to_seq": strconv.FormatInt(to,
			10), "instance": instance}, inputs, segment.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := base.Exec("UPDATE segments SET file = ?, bytes = ?, checksum = ?, links = ? WHERE id = ?",
		wrong, info.Bytes, info.Checksum, info.Runs[0].Total, id); err != nil {
		t.Fatal(err)
	}
}

// targetsOf changes the run by target of the n-th segment.
func targetsOf(n int, change func(all []entry) []entry) func(t *testing.T, dir string) {
	return runOf(n, index.RunTargets, change)
}

func runOf(n, run int, change func(all []entry) []entry) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		rewrite(t, dir, n, index.RunKinds, func(id int, all []entry) []entry {
			if id == run {
				all = change(all)
			}
			return all
		})
	}
}

// bodyOfRecord gives the like of account 30 the body of another log row.
func bodyOfRecord(seq uint64) func(t *testing.T, dir string) {
	return runOf(0, index.RunRecords, func(all []entry) []entry {
		for i, e := range all {
			if actor, _, rkey, err := codec.DecodeRecordKey(e.key); err == nil && actor == 30 {
				links, _ := codec.DecodeLinks(nil, e.value, rkey)
				all[i].value = codec.AppendBodyRef(codec.AppendLinks(nil, links), seq)
			}
		}
		return all
	})
}

// likeOf finds the link of an account to the post that all like.
func likeOf(t *testing.T, all []entry, actor uint64) int {
	t.Helper()
	i := slices.IndexFunc(all, func(e entry) bool {
		_, rest, _ := codec.DecodeID(e.key[codec.TargetLen(e.key):])
		p, _, _ := codec.DecodePosition(rest)
		return p.AccountID == actor && e.key[0] == codec.TagAccount
	})
	if i < 0 {
		t.Fatalf("no link of account %d", actor)
	}
	return i
}

// TestCheckFindsDamage makes each kind of damage and expects the line that reports it.
func TestCheckFindsDamage(t *testing.T) {
	if testing.Short() {
		t.Skip("left out with -short: slow, and one process at a time")
	}
	t.Parallel()
	whole := dbtest.Fixture(t)
	without := func(i int, all []entry) []entry { return slices.Delete(all, i, i+1) }
	for _, tc := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		kind   string
		want   string
	}{
		{"a flipped byte in a segment", func(t *testing.T, dir string) {
			dbtest.Flip(t, dbtest.SegmentPath(t, dir, 0),
				20_000)
		},
			check.KindSegment, "is damaged: its checksum"},
		{"a missing segment", func(t *testing.T, dir string) {
			if err := os.Remove(dbtest.SegmentPath(t, dir, 1)); err != nil {
				t.Fatal(err)
			}
		}, check.KindSegment, "is missing"},
		{"a segment cut short", func(t *testing.T, dir string) {
			if err := os.Truncate(dbtest.SegmentPath(t, dir, 1), 8192); err != nil {
				t.Fatal(err)
			}
		}, check.KindSegment, "has 8192 bytes and should have"},
		{"the file of another index", dbtest.Statements("UPDATE meta SET value = 'ANOTHER' WHERE key = 'instance'"),
			check.KindSegment, "does not belong here"},
		{"sums that are not those of the entries", func(t *testing.T, dir string) {
			kinds := map[int]segment.Kind{index.RunRecords: index.RunKinds[index.RunRecords],
				index.RunNames: index.RunKinds[index.RunNames]}
			order := index.ByTarget
			order.Delta = nil // counts removals as additions
			kinds[index.RunTargets] = segment.Kind{Keyspace: &order, List: codec.ListMember}
			rewrite(t, dir, 1, kinds, func(_ int, all []entry) []entry { return all })
		}, check.KindSegment, "contradicts itself"},
		{"a hole in the manifest", dbtest.Statements("DELETE FROM segments WHERE from_seq = 1"), check.KindManifest,
			"no segment has the log rows 1 to 1101"},
		{"an overlap in the manifest", dbtest.Statements("UPDATE segments SET from_seq = from_seq - 1 WHERE from_seq > 1"),
			check.KindManifest, "begins at log row 1101"},
		{"a total that the manifest has wrong", dbtest.Statements("UPDATE segments SET links = links + 1 WHERE from_seq = 1"),
			check.KindCount, "and the manifest says"},
		{"a linking counter that is wrong", dbtest.Statements("UPDATE segments SET linking = linking + 3"), check.KindCount,
			"records with links, but has"},
		{"a key that is none", targetsOf(1, func(all []entry) []entry {
			return append(all, entry{append(bytes.Clone(all[likeOf(t, all, 7)].key), 0), []byte{codec.Linked}})
		}), check.KindLink, "has the invalid key"},
		{"a total that is wrong", func(t *testing.T, dir string) {
			var again entry
			rewrite(t, dir, 0, index.RunKinds, func(id int, all []entry) []entry {
				if id == index.RunTargets {
					again = all[likeOf(t, all, 30)]
				}
				return all
			})
			targetsOf(1, func(all []entry) []entry { return append(all, again) })(t, dir)
		}, check.KindCount, "has 1094 links, but its total is 1095"},
		{"accounts that are counted wrongly", targetsOf(0, func(all []entry) []entry {
			like := all[likeOf(t, all, 30)].key
			_, rest, _ := codec.DecodeID(like[codec.TargetLen(like):])
			prefix := like[:len(like)-len(rest)]
			never := codec.ListPosition{Rank: 5, AccountID: 600,
				RkeySuffix: codec.AppendRkey(nil, "never")}.Append(bytes.Clone(prefix))
			return append(all, entry{never, []byte{codec.Unlinked}})
		}), check.KindCount, "accounts, but its sets say"},
		{"a link without a record", targetsOf(1, func(all []entry) []entry {
			like := all[likeOf(t, all, 7)].key
			_, rest, _ := codec.DecodeID(like[codec.TargetLen(like):])
			more := codec.ListPosition{Rank: 1_770_000_000_000_000, AccountID: 40,
				RkeySuffix: codec.AppendRkey(nil, "none")}.Append(bytes.Clone(like[:len(like)-len(rest)]))
			return append(all, entry{more, []byte{codec.Linked}})
		}), check.KindLink, dbtest.FixtureDID(40) + "/app.bsky.feed.like/none is listed among the links to " +
			dbtest.FixturePost},
		{"a link that is missing", targetsOf(0, func(all []entry) []entry { return without(likeOf(t, all, 30), all) }),
			check.KindLink, "but is not listed there"},
		{"a key in a spelling that is not its own", targetsOf(0, func(all []entry) []entry {
			i := likeOf(t, all, 30)
			key := all[i].key
			_, rest, _ := codec.DecodeID(key[codec.TargetLen(key):])
			p, _, _ := codec.DecodePosition(rest)
			p.RkeySuffix = p.Rkey()
			all[i].key = p.Append(key[: len(key)-len(rest) : len(key)-len(rest)])
			return all
		}), check.KindLink, "has the invalid key"},
		{"a wrong rank", targetsOf(0, func(all []entry) []entry {
			i := likeOf(t, all, 30)
			key := all[i].key
			_, rest, _ := codec.DecodeID(key[codec.TargetLen(key):])
			p, _, _ := codec.DecodePosition(rest)
			p.RkeySuffix = codec.AppendRkeySuffix(nil, p.Rank+77, p.Rkey())
			p.Rank += 77
			all[i].key = p.Append(key[: len(key)-len(rest) : len(key)-len(rest)])
			return all
		}), check.KindLink, "but its own rank is"},
		{"links of a hidden account", targetsOf(1, func(all []entry) []entry {
			return without(likeOf(t, all, 5),
				all)
		}),
			check.KindLink, "but its account is not active"},
		{"a record of a deleted account", runOf(1, index.RunRecords, func(all []entry) []entry {
			for i, e := range all {
				if actor, _, rkey, err := codec.DecodeRecordKey(e.key); err == nil && actor == 6 {
					value := codec.AppendID(nil, 3)
					all[i].value = append(append(value, 0), codec.AppendTarget(nil, true, 1, 0, "")...)
					_ = rkey
				}
			}
			return all
		}), check.KindLink, "has links, but its account is deleted"},
		{"an account that has no row", runOf(0, index.RunRecords, func(all []entry) []entry {
			i := slices.IndexFunc(all, func(e entry) bool {
				actor, _, _,
					err := codec.DecodeRecordKey(e.key)
				return err == nil && actor == 30
			})
			all[i].value = append(append(codec.AppendID(nil, 3), 0), codec.AppendTarget(nil, true, 99_999, 0, "")...)
			return all
		}), check.KindName, "links to account 99999"},
		{"a DID twice",
			dbtest.Statements(
				"INSERT INTO actors (id, did) SELECT max(id) + 1, (SELECT did FROM actors WHERE id = 50) FROM actors"),
			check.KindName, "has two rows, 50 and 1102"},
		{"a DID twice, both in a segment",
			dbtest.Statements("UPDATE actors SET did = (SELECT did FROM actors WHERE id = 50) WHERE id = 51"),
			check.KindName, "has two rows, 50 and 51"},
		{"a DID that changed", dbtest.Statements("UPDATE actors SET did = 'did:plc:zzzzzzzzzzzzzzzzzzzzzzzz' WHERE id = 50"),
			check.KindName, "is not in the order by name"},
		{"an account without its row", dbtest.Statements("DELETE FROM actors WHERE id = 50"), check.KindName,
			"accounts 1 to 1101 have 1100 rows"},
		{"a name that the order by name lacks", runOf(0, index.RunNames,
			func(all []entry) []entry { return without(40, all) }), check.KindName, "is not in the order by name"},
		{"a name that has no row", runOf(0, index.RunNames, func(all []entry) []entry {
			return append(all, entry{[]byte("ddid:plc:zzzzzzzzzzzzzzzzzzzzzzzz"), codec.AppendID(nil, 50)})
		}), check.KindName, `the order by name has account 50 as "did:plc:zzzzzzzzzzzzzzzzzzzzzzzz"`},
		{"a log row that contradicts a segment: an addition",
			dbtest.Statements("UPDATE links SET op = 0 WHERE id = 200 << 12"), check.KindLog, "log row 200 removes the link of"},
		{"a log row that contradicts a segment: a removal",
			dbtest.Statements("UPDATE records SET op = 2 WHERE seq = 1102", "UPDATE links SET op = 1 WHERE id = 1102 << 12"),
			check.KindLog, "log row 1102 links"},
		{"a log row that contradicts a segment: a rank", dbtest.Statements("UPDATE links SET rank = 77 WHERE id = 200 << 12"),
			check.KindLog, "has the link of"},
		{"a log row that contradicts a segment: a target",
			dbtest.Statements("UPDATE links SET target = x'026100' WHERE id = 200 << 12"), check.KindLog,
			"but the index lacks this link"},
		{"a log row that contradicts an account", dbtest.Statements("UPDATE actors SET status = 2 WHERE id = 5"),
			check.KindLog,
			"gives account 5 the status 1, and it has 2"},
		{"a log row that contradicts the one before",
			dbtest.Statements("UPDATE links SET op = 0 WHERE id >= (SELECT max(seq) << 12 FROM records)"), check.KindLog,
			"cannot be replayed"},
		{"a log row that is gone", dbtest.Statements("DELETE FROM links WHERE id >> 12 = 300",
			"DELETE FROM records WHERE seq = 300"), check.KindLog, "log rows 1 to"},
		{"log rows that no segment has and that are gone",
			dbtest.Statements("DELETE FROM links WHERE id >> 12 <= 1109",
				"DELETE FROM records WHERE seq <= 1109"), check.KindLog, "are lost: no segment has them"},
		{"a link row of another collection's source", dbtest.Statements("UPDATE links SET source = 1 WHERE id = 200 << 12"),
			check.KindLog, "does not fit log row 200"},
		{"a log row whose link is gone", dbtest.Statements("DELETE FROM links WHERE id = 200 << 12"), check.KindLog,
			"log row 200 changed nothing"},
		{"a link of a source that is none", dbtest.Statements("UPDATE links SET source = 77 WHERE id = 200 << 12"),
			check.KindLog, "of op 1 and source 77, does not fit log row 200"},
		{"a link without its rank", dbtest.Statements("UPDATE links SET rank = NULL WHERE seq = 1"),
			check.KindLog, "does not fit log row 1"},
		{"a log row of no account", dbtest.Statements("UPDATE records SET actor = 5000 WHERE seq = 200"), check.KindLog,
			"log row 200 is of account 5000"},
		{"a log row of no collection", dbtest.Statements("UPDATE records SET collection = 77 WHERE seq = 200"),
			check.KindLog, "of account 200 and collection 77"},
		{"a block with another byte", dbtest.Statements(
			"UPDATE log SET rows = CAST(substr(rows, 1, 99) || x'00' || substr(rows, 101) AS BLOB) WHERE first = 1"),
			check.KindLog, "the block of log rows 1 to 1024 is damaged"},
		{"a block of another format", dbtest.Statements("UPDATE log SET rows = x'02' WHERE first = 1"), check.KindLog,
			"the block of log rows 1 to 1024 is damaged: its format is not 1"},
		{"a row behind a damaged block", func(t *testing.T, dir string) {
			dbtest.Statements("UPDATE records SET op = 99 WHERE seq = 1110")(t, dir)
			dbtest.Statements("UPDATE log SET rows = x'02' WHERE first = 1")(t, dir)
		}, check.KindLog, "log row 1110, of op 99, lacks a part"},
		{"a block with another number of links", dbtest.Statements("UPDATE log SET links = links + 1 WHERE first = 1"),
			check.KindLog, "the block of log rows 1 to 1024 is damaged: it has"},
		{"a block with another time", dbtest.Statements("UPDATE log SET time_us = time_us + 1 WHERE first = 1"),
			check.KindLog, "the block of log rows 1 to 1024 is damaged: it ends at"},
		{"a block with another first row", dbtest.Statements("UPDATE log SET first = 999999 WHERE first = 1025"),
			check.KindLog, "the block of log rows 999999 to 1101 is damaged"},
		{"a block of the log that is gone", dbtest.Statements("DELETE FROM log WHERE first = 1025"), check.KindLog,
			"log rows 1 to"},
		{"a log row of no known kind", dbtest.Statements("UPDATE records SET op = 99 WHERE seq = 200"), check.KindLog,
			"log row 200, of op 99, lacks a part"},
		{"an account with a number below 0", dbtest.Statements("UPDATE actors SET id = -30 WHERE id = 30"),
			check.KindName, "account -30, "},
		{"a source of a collection below 0", dbtest.Statements("UPDATE sources SET collection = -1 WHERE id = 2"),
			check.KindName, "of collection -1, has a number below 0"},
		{"a source with a large number", dbtest.Statements("UPDATE sources SET id = 1 << 40 WHERE id = 2"),
			check.KindName, "sources 1 to 1099511627776 have"},
		{"a resync without its row", dbtest.Statements("INSERT INTO resyncs (actor, rev, since_seq) VALUES (5, 7, 200)"),
			check.KindLog, "which does not begin it"},
		{"an upstream ahead of itself", dbtest.Statements("UPDATE upstream SET seq = high_seq + 1"), check.KindDatabase,
			"the highest number that it has seen"},
		{"a gap that ends before it begins",
			dbtest.Statements(
				"INSERT INTO gaps (host, from_seq, to_seq, why, state, found_us) VALUES ('a', 5, 4, '', 'open', 0)"),
			check.KindDatabase, "gap 1 of a is from 5 to 4"},
		{"a block that is none", dbtest.Statements("UPDATE blocks SET body = x'00' WHERE id = 3"), check.KindBody,
			"block 3: body: decode"},
		{"a block of another record",
			dbtest.Statements("UPDATE blocks SET body = (SELECT body FROM blocks WHERE id = 4) WHERE id = 3"), check.KindBody,
			"block 3: it is damaged: its digest is"},
		{"a block that counts wrongly", dbtest.Statements("UPDATE blocks SET refs = refs + 1 WHERE id = 3"), check.KindBody,
			"block 3 is used by 1 bodies, and counts 2"},
		{"a block that is gone", dbtest.Statements("DELETE FROM blocks WHERE id = 3"), check.KindBody,
			"is in block 3, which is not there"},
		{"a block that nobody uses",
			dbtest.Statements("INSERT INTO blocks (id, digest, body) SELECT 99999, digest, body FROM blocks WHERE id = 3"),
			check.KindBody, "block 99999 is used by 0 bodies, and counts 0"},
		{"a body that is gone", dbtest.Statements("DELETE FROM bodies WHERE seq = 200"), check.KindBody,
			"has the body of log row 200, which does not exist"},
		{"a body that is nobody's", dbtest.Statements("DELETE FROM replaced WHERE seq < 1109"), check.KindBody, "3 orphaned"},
		{"a body behind the log", dbtest.Statements("INSERT INTO bodies (seq, block) VALUES (999999, 1)"), check.KindBody,
			"log row 999999 has a body, and the log ends at row"},
		{"a body of a log row that removes", dbtest.Statements("INSERT INTO bodies (seq, block) VALUES (1102, 1)"),
			check.KindBody,
			"log row 1102, of op 3, has a body"},
		{"a body put out of date before it came", dbtest.Statements("INSERT INTO replaced (seq, body) VALUES (5, 9)"),
			check.KindBody, "log row 5 puts the body of log row 9 out of date"},
		{"a body put out of date by no log row", dbtest.Statements("INSERT INTO replaced (seq, body) VALUES (999999, 9)"),
			check.KindBody, "log row 999999 puts the body"},
		{"a body put out of date twice",
			dbtest.Statements("INSERT INTO replaced (seq, body) SELECT (SELECT max(seq) FROM records), max(body) FROM replaced"),
			check.KindBody, "is put out of date by 2 log rows"},
		{"a log row that changed a body and doesn't say so", dbtest.Statements("DELETE FROM replaced WHERE seq = 1109"),
			check.KindLog, "log row 1109 changed nothing"},
		{"a record with the body of another", bodyOfRecord(300), check.KindBody,
			"has the body of log row 300, which belongs to another record"},
		{"a record with a body to come", bodyOfRecord(999_999), check.KindBody,
			"has the body of log row 999999, and the newest is"},
		{"bodies that are kept in an unknown way",
			dbtest.Statements("UPDATE meta SET value = 'sometimes' WHERE key = 'bodies'"), check.KindBody,
			`how bodies were kept: bodies: "sometimes"`},
		{"a damaged page of weft.db", func(t *testing.T, dir string) {
			path := filepath.Join(dir, "weft.db")
			base, err := sql.Open("sqlite", "file:"+path)
			if err != nil {
				t.Fatal(err)
			}
			defer base.Close()
			var root, size int64
			if err := base.QueryRow("SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = 'gaps'").Scan(
				&root, &size); err != nil {
				t.Fatal(err)
			}
			dbtest.Flip(t, path, (root-1)*size)
		}, check.KindDatabase, "malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			tc.damage(t, dir)
			r, err := check.Run(t.Context(), dir, check.Options{All: true})
			if err != nil {
				t.Fatal(err)
			}
			var found []string
			for _, p := range r.Problems {
				if p.Kind == tc.kind && strings.Contains(p.Text, tc.want) && p.Mend != "" {
					return
				}
				found = append(found, p.Kind+": "+p.Text)
			}
			t.Errorf("%d problems, and not %q: %s", r.Total, tc.want, strings.Join(found, "\n"))
		})
	}
}

// TestCheckSample: a sample finds an error that affects many records, and reports it a bounded number of times.
func TestCheckSample(t *testing.T) {
	t.Parallel()
	dir := dbtest.Fixture(t)
	targetsOf(0, func(all []entry) []entry {
		n := 0
		return slices.DeleteFunc(all, func(entry) bool { n++; return n%3 == 0 })
	})(t, dir)
	r, err := check.Run(t.Context(), dir, check.Options{Sample: 100, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	if r.Kinds[check.KindLink] < 10 || len(r.Problems) > 20 {
		t.Errorf("%d problems, %d of them listed: %v", r.Total, len(r.Problems), r.Kinds)
	}
	again, err := check.Run(t.Context(), dir, check.Options{Sample: 100, Seed: 3})
	if err != nil || fmt.Sprint(again) != fmt.Sprint(r) {
		t.Errorf("the same seed finds %+v, %v", again, err)
	}
}
