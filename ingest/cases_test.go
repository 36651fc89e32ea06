package ingest

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/extract"
	"weft.dev/weft/ingest/upstream"
)

// indexed indexes the v1 frames of a file. It returns the number of refused frames.
func indexed(t *testing.T, file string) (s *db.Store, refused int) {
	t.Helper()
	s, err := db.Open(db.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	lines, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	b, x := &batch{}, extract.New(extract.Limits{})
	b.Host, b.Kind = "test", upstream.KindV1
	for sc := bufio.NewScanner(lines); sc.Scan(); {
		var e upstream.Event
		if err := e.ReadFrame(upstream.KindV1, sc.Bytes()); err != nil {
			refused++
			continue
		}
		if err := b.add(&e, x, nil); err != nil {
			refused++
		}
	}
	if _, err := s.Apply(b.Batch); err != nil {
		t.Fatal(err)
	}
	return s, refused
}

// linking lists the records that link to a target, oldest first, as did/rkey.
func linking(t *testing.T, s *db.Store, target string, source db.Source) (records []string) {
	t.Helper()
	page, err := s.Links(t.Context(), db.ListQuery{Target: target, Source: source, Limit: 100, Reverse: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range page.Items {
		records = append(records, r.DID+"/"+r.Rkey)
	}
	if int(page.Total) != len(records) {
		t.Errorf("%s: %d in all, and %d listed", target, page.Total, len(records))
	}
	return records
}

// TestAccountStatuses: an inactive account is hidden, for any reason, also an unknown one. An active account is shown
// with any status.
func TestAccountStatuses(t *testing.T) {
	t.Parallel()
	s, refused := indexed(t, "testdata/account-status.jsonl")
	got := linking(t, s, "at://did:plc:sdnebbs4tqqblc77q2roo7ja/app.bsky.feed.post/3maaaaaaaaa2b",
		db.Source{Collection: "app.bsky.feed.like", Path: "subject.uri"})
	if want := []string{"did:plc:kmoruz35adikmpsxz36bgikn/3n37rl7gjsr22"}; !slices.Equal(got, want) || refused != 0 {
		t.Errorf("%q link, %d refused; want %q", got, refused, want)
	}
	st, err := s.Stats(t.Context())
	if err != nil || st.Records != 9 || st.Links != 1 {
		t.Errorf("%d records and %d links (%v), want 9 and 1", st.Records, st.Links, err)
	}
}

// TestEdgeRecords: odd record keys, revisions, times and CIDs are indexed if the protocol allows them, and otherwise
// ignored.
func TestEdgeRecords(t *testing.T) {
	t.Parallel()
	s, _ := indexed(t, "testdata/edge-records.jsonl")
	const target = "did:plc:zzzzzzzzzzzzzzzzzzzzzzzz"
	got := linking(t, s, target, db.Source{Collection: "app.bsky.graph.follow", Path: "subject"})
	slices.Sort(got)
	want := []string{
		"did:plc:2357cjkmoryz35ahikmpwxz3/3n37sodzffp22",               // the largest revision
		"did:plc:2trrtjcaacyrpprha66awpnn/3n37sodzuzp22",               // an invalid createdAt
		"did:plc:2z246jijlnyxy24hghjlwvwy/" + strings.Repeat("a", 512), // the longest record key
		"did:plc:c4346rlklna2z24pjijl6yxy/3n37sodzs3x22",               // no CID
		"did:plc:c667brnnoqa4457pllmo6223/9999999999999",               // not a TID: 9 is not in its alphabet
		"did:plc:ccegjrrtvyaacehpprtw66ac/3n37sodzgex22",               // an empty CID
		"did:plc:cehknrtwz4acfilprux26adg/3n37sodzchx22",               // nothing odd
		"did:plc:kecdfztrsuicabdxrpqsga67/3n37sodzt3722",               // created in 1970
		"did:plc:kgfgizvuvxiedegxtstvgcbc/2222222222222",               // the TID 0
		"did:plc:kklnqzz247iijloxxy25gghj/self",                        //
		"did:plc:sljkmb2yz3qjhik7ywxzohfg/3n37sodzu2h22",               // created in 9999
		"did:plc:snmnpb4346qlkln72z24ojij/3zzzzzzzzzzzz",               // a TID in the future
		"did:plc:srsuxbabdgqpqsv767beonoq/~1.2-3_:x",                   // all characters of record keys
		"did:web:Example.COM/3n37sodzwy722",                            // a DID stays verbatim
		"did:web:example.com%3A8443/3n37sodzvyx22",                     //
	}
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("%q link, want %q", got, want)
	}
	if got := linking(t, s, target, db.Source{Collection: "app.bsky.graph.follow", Path: "subject.uri"}); len(got) != 1 {
		t.Errorf("%q link by a subject that is an object", got)
	}
	// Ignored: malformed revisions (three), record keys with a space and a slash, malformed collections (two), and a
	// record that is null.
	if st, err := s.Stats(t.Context()); err != nil || st.Records != 16 {
		t.Errorf("%d records (%v), want 16", st.Records, err)
	}
}

// TestURLSpellings: the spellings of one page count as one target.
func TestURLSpellings(t *testing.T) {
	t.Parallel()
	s, refused := indexed(t, "testdata/url-spellings.jsonl")
	for target, want := range map[string]int{
		"https://xn--bcher-kva.example/x":                  3,
		"https://example.org/":                             5,
		"http://example.org/":                              1,
		"https://example.org/?":                            1,
		"https://example.org/#":                            1,
		"https://example.org./":                            1,
		"https://esc.example/a":                            1,
		"at://xn--maana-pta.example/app.bsky.feed.post/3k": 1,
		"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/~1.2-3_": 2,
		"did:web:Example.com%3a8443":                                       1,
		"did:web:example.com%3A8443":                                       1,
		"https://example.org":                                              0,
		"https://b%C3%BCcher.example/x":                                    0,
	} {
		if got := linking(t, s, target, db.Source{Collection: "com.example.l", Path: "u"}); len(got) != want {
			t.Errorf("%s: %q link, want %d", target, got, want)
		}
	}
	if st, err := s.Stats(t.Context()); err != nil || st.Links != 18 || refused != 0 {
		t.Errorf("%s links, %d refused (%v), want 18", fmt.Sprint(st.Links), refused, err)
	}
}
