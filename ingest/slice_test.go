package ingest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

func TestSlice(t *testing.T) {
	t.Parallel()
	const like, follow, post = "app.bsky.feed.like", "app.bsky.graph.follow", "app.bsky.feed.post"
	for _, tc := range []struct {
		name       string
		c          SliceConfig
		in, out    []string // collections
		links      string   // path of a like in the slice
		linksNot   string   // path of a like outside it
		collection []string // filter sent to an upstream
	}{
		{"all", SliceConfig{}, []string{like, follow, post}, nil, "subject.uri", "", nil},
		{"one", SliceConfig{Collections: []string{like}}, []string{like}, []string{follow, post, "app.bsky.feed.likes"}, "x",
			"", []string{like}},
		{"a namespace", SliceConfig{Collections: []string{"app.bsky.feed.*"}}, []string{like, post},
			[]string{follow, "app.bsky.feedx.a"}, "x", "", []string{"app.bsky.feed.*"}},
		{"a namespace without one", SliceConfig{Collections: []string{"app.bsky.feed.*"}, Exclude: []string{post}},
			[]string{like}, []string{follow, post}, "x", "", []string{"app.bsky.feed.*"}},
		{"all without a namespace", SliceConfig{Exclude: []string{"app.bsky.graph.*"}}, []string{like, post},
			[]string{follow}, "x", "", nil},
		{"sources", SliceConfig{Sources: []string{like + ":subject.uri", like + ":.via.uri"}}, []string{like},
			[]string{follow, post}, "via.uri", "subject.cid", []string{like}},
	} {
		s, err := NewSlice(tc.c)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		for _, c := range tc.in {
			if !s.Keeps(c) {
				t.Errorf("%s leaves %s out", tc.name, c)
			}
		}
		for _, c := range tc.out {
			if s.Keeps(c) {
				t.Errorf("%s has %s", tc.name, c)
			}
		}
		keeps := func(path string) bool {
			return s.KeepsLink("did:web:a", db.Source{Collection: like, Path: path}, "https://example.org/")
		}
		if !keeps(tc.links) || tc.linksNot != "" && keeps(tc.linksNot) {
			t.Errorf("%s: links at %q and %q", tc.name, tc.links, tc.linksNot)
		}
		if got := s.filter().Collections; len(got) != len(tc.collection) || len(got) > 0 && got[0] != tc.collection[0] {
			t.Errorf("%s asks for %q", tc.name, got)
		}
	}
	s, err := NewSlice(SliceConfig{DIDs: []string{"did:web:a"}, Collections: []string{like}})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []upstream.Event{{DID: "did:web:b", Op: db.OpAccount},
		{DID: "did:web:b", Op: db.OpCreate, Collection: like}, {DID: "did:web:a", Op: db.OpCreate, Collection: post}} {
		if s.keeps(&e) {
			t.Errorf("it has %+v", e)
		}
	}
	for _, e := range []upstream.Event{{DID: "did:web:a", Op: db.OpAccount}, {DID: "did:web:a", Op: db.OpSync},
		{DID: "did:web:a", Op: db.OpDelete, Collection: like}} {
		if !s.keeps(&e) {
			t.Errorf("it leaves %+v out", e)
		}
	}
	for _, bad := range []SliceConfig{{Collections: []string{"like"}}, {Collections: []string{"app.bsky.feed*"}},
		{Collections: []string{"*"}}, {Exclude: []string{""}},
		{DIDs: []string{"alice.example"}}, {Sources: []string{like}}, {Sources: []string{like + ":"}},
		{Sources: []string{"like:subject"}}} {
		if _, err := NewSlice(bad); err == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}

func TestSliceState(t *testing.T) {
	t.Parallel()
	then, now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	of := func(c ...string) SliceConfig { return SliceConfig{Collections: c} }
	state := func(c SliceConfig, since ...time.Time) SliceState {
		s := SliceState{Slice: c.normal()}
		for i, what := range c.parts() {
			s.Parts = append(s.Parts, wire.SlicePart{What: what, Since: since[min(i, len(since)-1)]})
		}
		return s
	}
	for _, tc := range []struct {
		name       string
		was        SliceState
		to         SliceConfig
		more, less bool
		since      []time.Time
	}{
		{"a new index of all", SliceState{}, SliceConfig{}, false, false, []time.Time{{}}},
		{"the same", state(of("a.b.c", "a.b.d"), then), of("a.b.d", "a.b.c"), false, false, []time.Time{then, then}},
		{"one more", state(of("a.b.c"), then), of("a.b.c", "a.b.d"), true, false, []time.Time{then, now}},
		{"one less", state(of("a.b.c", "a.b.d"), then), of("a.b.c"), false, true, []time.Time{then}},
		{"another", state(of("a.b.c"), then), of("a.b.d"), true, true, []time.Time{now}},
		{"all instead of some", state(of("a.b.c"), then), SliceConfig{}, true, false, []time.Time{now}},
		{"some instead of all", state(SliceConfig{}, time.Time{}), of("a.b.c"), false, true, []time.Time{{}}},
		{"without one", state(SliceConfig{}, time.Time{}), SliceConfig{Exclude: []string{"a.b.c"}}, false, true,
			[]time.Time{{}}},
		{"with it again", state(SliceConfig{Exclude: []string{"a.b.c"}}, time.Time{}), SliceConfig{}, true, false,
			[]time.Time{now}},
		{"some instead of all that began later", state(SliceConfig{}, then), of("a.b.c"), false, true, []time.Time{then}},
		{"an account more", state(SliceConfig{DIDs: []string{"did:web:a"}}, then),
			SliceConfig{DIDs: []string{"did:web:a", "did:web:b"}}, true, false, []time.Time{now}},
		{"an account less", state(SliceConfig{DIDs: []string{"did:web:a", "did:web:b"}}, then),
			SliceConfig{DIDs: []string{"did:web:a"}}, false, true, []time.Time{then}},
	} {
		next, more, less := tc.was.Change(tc.to, now)
		if more != tc.more || less != tc.less || len(next.Parts) != len(tc.since) {
			t.Errorf("%s: more %t, less %t, %+v", tc.name, more, less, next)
			continue
		}
		for i, p := range next.Parts {
			if !p.Since.Equal(tc.since[i]) {
				t.Errorf("%s: %s is complete since %s, not %s", tc.name, p.What, p.Since, tc.since[i])
			}
		}
		again, err := ParseSliceState(next.String())
		if err != nil {
			t.Fatal(err)
		}
		if _, more, less := again.Change(tc.to, now); more || less {
			t.Errorf("%s: it is another when it is read again", tc.name)
		}
	}
}

// TestSubjectState: each subject is complete since it was added or, after its backfill, since the index began.
func TestSubjectState(t *testing.T) {
	t.Parallel()
	at := func(day int) time.Time { return time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC) }
	groups := func(s SliceState) string {
		var b strings.Builder
		for _, g := range s.Subjects {
			fmt.Fprintf(&b, "%d:%s ", max(g.Since.Day(), 1)*min(1, g.Since.Year()-1), strings.Join(g.Subjects, ","))
		}
		return strings.TrimSpace(b.String())
	}
	var s SliceState
	for _, step := range []struct {
		name       string
		day        int
		subjects   string
		more, less bool
		want       string // groups, as day:subjects; day 0: since the index began
		parts      int    // time since when the whole is complete
	}{
		{"all", 1, "", false, false, "", 0},
		{"some instead of all", 2, "a.x b.x", false, true, "0:a.x,b.x", 0},
		{"the same", 3, "b.x a.x", false, false, "0:a.x,b.x", 0},
		{"one more", 4, "a.x b.x c.x", true, false, "0:a.x,b.x 4:c.x", 0},
		{"one more and one less", 5, "a.x c.x d.x", true, true, "0:a.x 4:c.x 5:d.x", 0},
		{"one again", 6, "a.x b.x c.x d.x", true, false, "0:a.x 4:c.x 5:d.x 6:b.x", 0},
		{"all instead of some", 7, "", true, false, "", 7},
		{"some again", 8, "a.x", false, true, "0:a.x", 7},
	} {
		next, more, less := s.Change(SliceConfig{Subjects: strings.Fields(step.subjects)}, at(step.day))
		if more != step.more || less != step.less || groups(next) != step.want {
			t.Errorf("%s: more %t, less %t, %s", step.name, more, less, groups(next))
		}
		if since := next.Parts[0].Since; since.IsZero() != (step.parts == 0) || step.parts > 0 &&
			!since.Equal(at(step.parts)) {
			t.Errorf("%s: complete since %s", step.name, since)
		}
		again, err := ParseSliceState(next.String())
		if err != nil || again.String() != next.String() || fmt.Sprint(again.Slice) != fmt.Sprint(next.Slice) {
			t.Errorf("%s: %s is read as %s, %v", step.name, next, again, err)
		}
		s = again
	}
	if s, _, _ = s.Change(SliceConfig{Subjects: []string{"a.x", "b.x"}}, at(9)); !s.Incomplete() {
		t.Error("it is complete")
	}
	s = s.AddBackfill("https://a.example", 77)
	b := s.Backfill[0]
	s, _, _ = s.Change(SliceConfig{Subjects: []string{"a.x", "b.x", "c.x"}}, at(10))
	s = s.Backfilled(b)
	if groups(s) != "0:a.x,b.x 10:c.x" || len(s.Backfill) != 0 || !s.Parts[0].Since.IsZero() || !s.Incomplete() {
		t.Errorf("after the backfill: %s", s)
	}
}

// TestSubjectGroups: a status lists a few groups and a few subjects of each, with the number of all.
func TestSubjectGroups(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var s SliceState
	var list []string
	for day := range 50 {
		for i := range 20 {
			list = append(list, fmt.Sprintf("a%d.b%d.example", i, day))
		}
		s, _, _ = s.Change(SliceConfig{Subjects: list}, begin.AddDate(0, 0, day))
	}
	shown := s.Groups()
	total := 0
	for _, g := range shown {
		total += g.Count
		if len(g.Subjects) != 10 {
			t.Errorf("%d subjects are named", len(g.Subjects))
		}
	}
	if len(shown) != 20 || total != 1000 || !shown[0].Since.Equal(begin.AddDate(0, 0, 30)) || shown[0].Count != 31*20 {
		t.Errorf("%d groups of %d subjects: the oldest %+v", len(shown), total, shown[0])
	}
}
