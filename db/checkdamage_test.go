package db

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

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/segment"
	"weft.dev/weft/link"
)

// fixture is an index of two segments and some log rows that none holds, with a bit of everything:
//
//	account 1         wrote the post that all like
//	accounts 2 to 1101 like it; of them
//	account 5         is deactivated, in the second segment
//	account 6         is deleted, in the second segment
//	accounts 7 to 9   have unliked it, in the second segment
//	account 11        has changed only the body of its like, behind the segments
const (
	fixtureLikes = 1100
	fixturePost  = "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaab/app.bsky.feed.post/3m2qrrgw22222"
)

func fixtureDID(n int) string {
	const digits = "abcdefghijklmnopqrstuvwxyz234567"
	did := []byte("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
	for i := len(did) - 1; n > 0; i, n = i-1, n/32 {
		did[i] = digits[n%32]
	}
	return string(did)
}

func makeFixture(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s, err := Open(Config{Dir: dir, SealBytes: 1 << 30, ReplayWindow: -1, Bodies: BodiesKeep})
	if err != nil {
		t.Fatal(err)
	}
	seq, us := uint64(0), int64(1_770_000_000_000_000)
	var batch []Event
	add := func(e Event) {
		seq, us = seq+1, us+1000
		e.Seq, e.TimeUS, e.Rev = seq, us, string(link.AppendTID(nil, uint64(us)<<10))
		if e.Op == OpCreate || e.Op == OpUpdate {
			e.Body = fmt.Appendf(nil, "the body of event %d", seq)
		}
		batch = append(batch, e)
	}
	apply := func() {
		if _, err := s.Apply(Batch{Host: "test", Events: batch}); err != nil {
			t.Fatal(err)
		}
		batch = nil
	}
	rkeys := map[int]string{}
	like := func(op Op, n int) {
		if rkeys[n] == "" {
			rkeys[n] = string(link.AppendTID(nil, uint64(us)<<10))
		}
		add(Event{Op: op, DID: fixtureDID(n), Collection: "app.bsky.feed.like", Rkey: rkeys[n],
			Links: []Link{{Path: "subject.uri", Target: fixturePost}}})
	}
	self := func(n int, target string) {
		add(Event{Op: OpCreate, DID: fixtureDID(n), Collection: "app.bsky.actor.profile", Rkey: "self",
			Links: []Link{{Path: "website", Target: target}, {Path: "pinnedPost.uri", Target: fixturePost}}})
	}
	seal := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for s.makeImmutable(); s.sealing != nil; s.sealed.Wait() {
		}
	}
	self(1, "https://example.com/")
	for n := 2; n < 2+fixtureLikes; n++ {
		like(OpCreate, n)
	}
	apply()
	seal()
	for n := 7; n < 10; n++ {
		like(OpDelete, n)
	}
	add(Event{Op: OpAccount, DID: fixtureDID(5), Status: StatusDeactivated})
	add(Event{Op: OpAccount, DID: fixtureDID(6), Status: StatusDeleted})
	self(20, "https://example.com/")
	self(21, "https://example.org/")
	apply()
	seal()
	like(OpUpdate, 11)
	like(OpDelete, 10)
	self(22, "https://example.net/")
	apply()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

type entry struct{ key, value []byte }

// slicedEntries is what segment.Write reads.
type slicedEntries struct {
	all []entry
	at  int
}

func (e *slicedEntries) Next() (bool, error) { e.at++; return e.at <= len(e.all), nil }
func (e *slicedEntries) Key() []byte         { return e.all[e.at-1].key }
func (e *slicedEntries) Value() []byte       { return e.all[e.at-1].value }

// rewrite puts a segment that differs in the place of the manifest's n-th, as a writer with a mistake would have.
func rewrite(t *testing.T, dir string, n int, kinds map[int]segment.Kind, change func(id int, all []entry) []entry) {
	t.Helper()
	base, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	var id, from, to int64
	var name, instance string
	if err := base.QueryRow("SELECT segments.id, file, from_seq, to_seq, value FROM segments, meta WHERE key = 'instance' ORDER BY from_seq LIMIT 1 OFFSET ?", n).Scan(
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

// statements changes weft.db behind the store's back.
func statements(all ...string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		base, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer base.Close()
		for _, statement := range all {
			res, err := base.Exec(statement)
			if err != nil {
				t.Fatal(err)
			}
			if n, _ := res.RowsAffected(); n == 0 {
				t.Fatalf("%s changed nothing", statement)
			}
		}
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

// segmentPath is the n-th segment's file.
func segmentPath(t *testing.T, dir string, n int) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "segments", "*.weft"))
	if err != nil || len(files) < n {
		t.Fatal(files, err)
	}
	slices.Sort(files) // the first begins with 1-
	return files[n]
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += int64(len(data))
	}
	data[at] ^= 0x10
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
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

// TestCheckFindsDamage seeds one of each kind of damage, and looks for the line that names it.
func TestCheckFindsDamage(t *testing.T) {
	if testing.Short() {
		t.Skip("left out with -short: slow, and one process at a time")
	}
	t.Parallel()
	whole := makeFixture(t)
	without := func(i int, all []entry) []entry { return slices.Delete(all, i, i+1) }
	for _, tc := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		kind   string
		want   string
	}{
		{"a flipped byte in a segment", func(t *testing.T, dir string) { flip(t, segmentPath(t, dir, 0), 20_000) },
			KindSegment, "is damaged: its checksum"},
		{"a missing segment", func(t *testing.T, dir string) {
			if err := os.Remove(segmentPath(t, dir, 1)); err != nil {
				t.Fatal(err)
			}
		}, KindSegment, "is missing"},
		{"a segment cut short", func(t *testing.T, dir string) {
			if err := os.Truncate(segmentPath(t, dir, 1), 8192); err != nil {
				t.Fatal(err)
			}
		}, KindSegment, "has 8192 bytes and should have"},
		{"the file of another index", statements("UPDATE meta SET value = 'ANOTHER' WHERE key = 'instance'"),
			KindSegment, "does not belong here"},
		{"sums that are not those of the entries", func(t *testing.T, dir string) {
			kinds := map[int]segment.Kind{index.RunRecords: index.RunKinds[index.RunRecords], index.RunNames: index.RunKinds[index.RunNames]}
			order := index.ByTarget
			order.Delta = nil // counts removals as additions
			kinds[index.RunTargets] = segment.Kind{Keyspace: &order, List: codec.ListMember}
			rewrite(t, dir, 1, kinds, func(_ int, all []entry) []entry { return all })
		}, KindSegment, "contradicts itself"},
		{"a hole in the manifest", statements("DELETE FROM segments WHERE from_seq = 1"), KindManifest,
			"no segment has the log rows 1 to 1101"},
		{"an overlap in the manifest", statements("UPDATE segments SET from_seq = from_seq - 1 WHERE from_seq > 1"),
			KindManifest, "begins at log row 1101"},
		{"a total that the manifest has wrong", statements("UPDATE segments SET links = links + 1 WHERE from_seq = 1"),
			KindCount, "and the manifest says"},
		{"a linking counter that is wrong", statements("UPDATE segments SET linking = linking + 3"), KindCount,
			"records with links, but has"},
		{"a key that is none", targetsOf(1, func(all []entry) []entry {
			return append(all, entry{append(bytes.Clone(all[likeOf(t, all, 7)].key), 0), []byte{codec.Linked}})
		}), KindLink, "has the invalid key"},
		{"a total that is wrong", func(t *testing.T, dir string) {
			var again entry
			rewrite(t, dir, 0, index.RunKinds, func(id int, all []entry) []entry {
				if id == index.RunTargets {
					again = all[likeOf(t, all, 30)]
				}
				return all
			})
			targetsOf(1, func(all []entry) []entry { return append(all, again) })(t, dir)
		}, KindCount, "has 1094 links, but its total is 1095"},
		{"accounts that are counted wrongly", targetsOf(0, func(all []entry) []entry {
			like := all[likeOf(t, all, 30)].key
			_, rest, _ := codec.DecodeID(like[codec.TargetLen(like):])
			prefix := like[:len(like)-len(rest)]
			never := codec.ListPosition{Rank: 5, AccountID: 600,
				RkeySuffix: codec.AppendRkey(nil, "never")}.Append(bytes.Clone(prefix))
			return append(all, entry{never, []byte{codec.Unlinked}})
		}), KindCount, "accounts, but its sets say"},
		{"a link without a record", targetsOf(1, func(all []entry) []entry {
			like := all[likeOf(t, all, 7)].key
			_, rest, _ := codec.DecodeID(like[codec.TargetLen(like):])
			more := codec.ListPosition{Rank: 1_770_000_000_000_000, AccountID: 40,
				RkeySuffix: codec.AppendRkey(nil, "none")}.Append(bytes.Clone(like[:len(like)-len(rest)]))
			return append(all, entry{more, []byte{codec.Linked}})
		}), KindLink, fixtureDID(40) + "/app.bsky.feed.like/none is listed among the links to " + fixturePost},
		{"a link that is missing", targetsOf(0, func(all []entry) []entry { return without(likeOf(t, all, 30), all) }),
			KindLink, "but is not listed there"},
		{"a key in a spelling that is not its own", targetsOf(0, func(all []entry) []entry {
			i := likeOf(t, all, 30)
			key := all[i].key
			_, rest, _ := codec.DecodeID(key[codec.TargetLen(key):])
			p, _, _ := codec.DecodePosition(rest)
			p.RkeySuffix = p.Rkey()
			all[i].key = p.Append(key[: len(key)-len(rest) : len(key)-len(rest)])
			return all
		}), KindLink, "has the invalid key"},
		{"a wrong rank", targetsOf(0, func(all []entry) []entry {
			i := likeOf(t, all, 30)
			key := all[i].key
			_, rest, _ := codec.DecodeID(key[codec.TargetLen(key):])
			p, _, _ := codec.DecodePosition(rest)
			p.RkeySuffix = codec.AppendRkeySuffix(nil, p.Rank+77, p.Rkey())
			p.Rank += 77
			all[i].key = p.Append(key[: len(key)-len(rest) : len(key)-len(rest)])
			return all
		}), KindLink, "but its own rank is"},
		{"links of a hidden account", targetsOf(1, func(all []entry) []entry {
			return without(likeOf(t, all, 5),
				all)
		}),
			KindLink, "but its account is not active"},
		{"a record of a deleted account", runOf(1, index.RunRecords, func(all []entry) []entry {
			for i, e := range all {
				if actor, _, rkey, err := codec.DecodeRecordKey(e.key); err == nil && actor == 6 {
					value := codec.AppendID(nil, 3)
					all[i].value = append(append(value, 0), codec.AppendTarget(nil, true, 1, 0, "")...)
					_ = rkey
				}
			}
			return all
		}), KindLink, "has links, but its account is deleted"},
		{"an account that has no row", runOf(0, index.RunRecords, func(all []entry) []entry {
			i := slices.IndexFunc(all, func(e entry) bool {
				actor, _, _,
					err := codec.DecodeRecordKey(e.key)
				return err == nil && actor == 30
			})
			all[i].value = append(append(codec.AppendID(nil, 3), 0), codec.AppendTarget(nil, true, 99_999, 0, "")...)
			return all
		}), KindName, "links to account 99999"},
		{"a DID twice",
			statements("INSERT INTO actors (id, did) SELECT max(id) + 1, (SELECT did FROM actors WHERE id = 50) FROM actors"),
			KindName, "has two rows, 50 and 1102"},
		{"a DID twice, both in a segment",
			statements("UPDATE actors SET did = (SELECT did FROM actors WHERE id = 50) WHERE id = 51"),
			KindName, "has two rows, 50 and 51"},
		{"a DID that changed", statements("UPDATE actors SET did = 'did:plc:zzzzzzzzzzzzzzzzzzzzzzzz' WHERE id = 50"),
			KindName, "is not in the order by name"},
		{"an account without its row", statements("DELETE FROM actors WHERE id = 50"), KindName,
			"accounts 1 to 1101 have 1100 rows"},
		{"a name that the order by name lacks", runOf(0, index.RunNames,
			func(all []entry) []entry { return without(40, all) }), KindName, "is not in the order by name"},
		{"a name that has no row", runOf(0, index.RunNames, func(all []entry) []entry {
			return append(all, entry{[]byte("ddid:plc:zzzzzzzzzzzzzzzzzzzzzzzz"), codec.AppendID(nil, 50)})
		}), KindName, `the order by name has account 50 as "did:plc:zzzzzzzzzzzzzzzzzzzzzzzz"`},
		{"a log row that contradicts a segment: an addition",
			statements("UPDATE links SET op = 0 WHERE id = 200 << 12"), KindLog, "log row 200 removes the link of"},
		{"a log row that contradicts a segment: a removal",
			statements("UPDATE records SET op = 2 WHERE seq = 1102", "UPDATE links SET op = 1 WHERE id = 1102 << 12"),
			KindLog, "log row 1102 links"},
		{"a log row that contradicts a segment: a rank", statements("UPDATE links SET rank = 77 WHERE id = 200 << 12"),
			KindLog, "has the link of"},
		{"a log row that contradicts a segment: a target",
			statements("UPDATE links SET target = x'026100' WHERE id = 200 << 12"), KindLog, "but the index lacks this link"},
		{"a log row that contradicts an account", statements("UPDATE actors SET status = 2 WHERE id = 5"), KindLog,
			"gives account 5 the status 1, and it has 2"},
		{"a log row that contradicts the one before",
			statements("UPDATE links SET op = 0 WHERE id >= (SELECT max(seq) << 12 FROM records)"), KindLog, "cannot be replayed"},
		{"a log row that is gone", statements("DELETE FROM records WHERE seq = 300",
			"DELETE FROM links WHERE id >> 12 = 300"), KindLog, "log rows 1 to"},
		{"log rows that no segment has and that are gone",
			statements("DELETE FROM records WHERE seq <= 1109",
				"DELETE FROM links WHERE id >> 12 <= 1109"), KindLog, "are lost: no segment has them"},
		{"a link row without its log row",
			statements("INSERT INTO links (id, op, source, target) VALUES (900000000000, 1, 1, x'0202')"), KindLog, "link row 900000000000 belongs to no log row"},
		{"a link row that is gone", statements("DELETE FROM links WHERE id = 1 << 12"), KindLog,
			"log row 1 lacks link rows"},
		{"a link row of another collection's source", statements("UPDATE links SET source = 1 WHERE id = 200 << 12"),
			KindLog, "does not fit log row 200"},
		{"a log row of no known kind", statements("UPDATE records SET op = 99 WHERE seq = 200"), KindLog,
			"log row 200, of op 99, lacks a part"},
		{"a resync without its row", statements("INSERT INTO resyncs (actor, rev, since_seq) VALUES (5, 7, 200)"),
			KindLog, "which does not begin it"},
		{"an upstream ahead of itself", statements("UPDATE upstream SET seq = high_seq + 1"), KindDatabase,
			"the highest number that it has seen"},
		{"a gap that ends before it begins",
			statements("INSERT INTO gaps (host, from_seq, to_seq, why, state, found_us) VALUES ('a', 5, 4, '', 'open', 0)"), KindDatabase, "gap 1 of a is from 5 to 4"},
		{"a block that is none", statements("UPDATE blocks SET body = x'00' WHERE id = 3"), KindBody,
			"block 3: body: decode"},
		{"a block of another record",
			statements("UPDATE blocks SET body = (SELECT body FROM blocks WHERE id = 4) WHERE id = 3"), KindBody, "block 3: it is damaged: its digest is"},
		{"a block that counts wrongly", statements("UPDATE blocks SET refs = refs + 1 WHERE id = 3"), KindBody,
			"block 3 is used by 1 bodies, and counts 2"},
		{"a block that is gone", statements("DELETE FROM blocks WHERE id = 3"), KindBody,
			"is in block 3, which is not there"},
		{"a block that nobody uses",
			statements("INSERT INTO blocks (id, digest, body) SELECT 99999, digest, body FROM blocks WHERE id = 3"),
			KindBody, "block 99999 is used by 0 bodies, and counts 0"},
		{"a body that is gone", statements("DELETE FROM bodies WHERE seq = 200"), KindBody,
			"has the body of log row 200, which does not exist"},
		{"a body that is nobody's", statements("DELETE FROM replaced WHERE seq < 1109"), KindBody, "3 orphaned"},
		{"a body behind the log", statements("INSERT INTO bodies (seq, block) VALUES (999999, 1)"), KindBody,
			"log row 999999 has a body, and the log ends at row"},
		{"a body of a log row that removes", statements("INSERT INTO bodies (seq, block) VALUES (1102, 1)"), KindBody,
			"log row 1102, of op 3, has a body"},
		{"a body put out of date before it came", statements("INSERT INTO replaced (seq, body) VALUES (5, 9)"),
			KindBody, "log row 5 puts the body of log row 9 out of date"},
		{"a body put out of date by no log row", statements("INSERT INTO replaced (seq, body) VALUES (999999, 9)"),
			KindBody, "log row 999999 puts the body"},
		{"a body put out of date twice",
			statements("INSERT INTO replaced (seq, body) SELECT (SELECT max(seq) FROM records), max(body) FROM replaced"), KindBody, "is put out of date by 2 log rows"},
		{"a log row that changed a body and doesn't say so", statements("DELETE FROM replaced WHERE seq = 1109"),
			KindLog, "log row 1109 changed nothing"},
		{"a record with the body of another", bodyOfRecord(300), KindBody,
			"has the body of log row 300, which belongs to another record"},
		{"a record with a body to come", bodyOfRecord(999_999), KindBody,
			"has the body of log row 999999, and the newest is"},
		{"bodies that are kept in an unknown way",
			statements("UPDATE meta SET value = 'sometimes' WHERE key = 'bodies'"), KindBody, `how bodies were kept: bodies: "sometimes"`},
		{"a damaged page of weft.db", func(t *testing.T, dir string) {
			path := filepath.Join(dir, "weft.db")
			base, err := sql.Open("sqlite", "file:"+path)
			if err != nil {
				t.Fatal(err)
			}
			defer base.Close()
			var root, size int64
			if err := base.QueryRow("SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = 'gaps'").Scan(&root, &size); err != nil {
				t.Fatal(err)
			}
			flip(t, path, (root-1)*size)
		}, KindDatabase, "malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			tc.damage(t, dir)
			r, err := Check(t.Context(), dir, CheckOptions{All: true})
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

// TestCheckSample: what is wrong with many is found by a sample, and reported a bounded number of times.
func TestCheckSample(t *testing.T) {
	t.Parallel()
	dir := makeFixture(t)
	targetsOf(0, func(all []entry) []entry {
		n := 0
		return slices.DeleteFunc(all, func(entry) bool { n++; return n%3 == 0 })
	})(t, dir)
	r, err := Check(t.Context(), dir, CheckOptions{Sample: 100, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	if r.Kinds[KindLink] < 10 || len(r.Problems) > maxProblems {
		t.Errorf("%d problems, %d of them told: %v", r.Total, len(r.Problems), r.Kinds)
	}
	again, err := Check(t.Context(), dir, CheckOptions{Sample: 100, Seed: 3})
	if err != nil || fmt.Sprint(again) != fmt.Sprint(r) {
		t.Errorf("the same seed finds %+v, %v", again, err)
	}
}
