package api

import (
	"bufio"
	"encoding/json"
	"net/url"
	"os"
	"strings"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/ingest/extract"
)

// TestListedCanBeAsked queries every route with each collection and path that /links/all lists. The records have odd
// keys: empty, with dots, brackets or a newline, and as long as a path may be.
func TestListedCanBeAsked(t *testing.T) {
	t.Parallel()
	store, err := db.Open(db.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	file, err := os.Open("testdata/odd-keys.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var records []string
	for sc := bufio.NewScanner(file); sc.Scan(); {
		records = append(records, sc.Text())
	}
	for _, key := range []string{strings.Repeat("k", 1024), ".a.b", "...", "\u0085\u007f"} {
		name, _ := json.Marshal(key)
		records = append(records,
			`{"did":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","time_us":1795699706834445,"commit":{"rev":"3n37rpmgfkh22",`+
				`"collection":"com.example.odd","rkey":"3n37rpmgfkh22","record":{`+string(name)+`:"https://example.com/odd"}}}`)
	}
	x := extract.New(extract.Limits{})
	batch := db.Batch{Host: "test"}
	for i, line := range records {
		var in struct {
			DID    string
			TimeUS int64 `json:"time_us"`
			Commit struct {
				Rev, Collection, Rkey string
				Record                json.RawMessage
			}
		}
		if err := json.Unmarshal([]byte(line), &in); err != nil {
			t.Fatal(err)
		}
		links, err := x.JSON(in.Commit.Record)
		if err != nil {
			t.Fatal(err)
		}
		e := apply.Event{Seq: uint64(i + 1), TimeUS: in.TimeUS, Op: db.OpUpdate, DID: in.DID, Rev: in.Commit.Rev,
			Collection: in.Commit.Collection, Rkey: in.Commit.Rkey}
		e.Rkey += string(rune('a' + i%26)) // a record per line
		for _, l := range links {
			e.Links = append(e.Links, db.Link{Path: string(l.Path), Target: string(l.Target)})
		}
		batch.Events = append(batch.Events, e)
	}
	if _, err := store.Apply(batch); err != nil {
		t.Fatal(err)
	}
	h := New(Config{Store: store})
	subject := url.QueryEscape("https://example.com/odd")
	var all struct {
		Links map[string]map[string]struct {
			Records int64
			DIDs    int64 `json:"distinct_dids"`
		}
	}
	answer(t, get(t, h, "/links/all?target="+subject), &all)
	asked := 0
	for collection, paths := range all.Links {
		for path, want := range paths {
			asked++
			legacy := "?target=" + subject + "&collection=" + collection + "&path=" + url.QueryEscape(path)
			queries := map[string]int64{"/links" + legacy: want.Records, "/links/count" + legacy: want.Records,
				"/links/distinct-dids" + legacy: want.DIDs, "/links/count/distinct-dids" + legacy: want.DIDs}
			sources := []string{path} // a path with its leading dot always names itself
			if bare := path[1:]; !strings.HasPrefix(bare, ".") {
				sources = append(sources, bare)
			}
			for _, source := range sources {
				xrpc := "?subject=" + subject + "&source=" + collection + ":" + url.QueryEscape(source)
				queries["/xrpc/blue.microcosm.links.getBacklinks"+xrpc] = want.Records
				queries["/xrpc/blue.microcosm.links.getBacklinksCount"+xrpc] = want.Records
				queries["/xrpc/blue.microcosm.links.getBacklinkDids"+xrpc] = want.DIDs
				queries["/xrpc/dev.weft.links.getBacklinks"+xrpc] = want.Records
			}
			for query, want := range queries {
				var got struct{ Total int64 }
				if answer(t, get(t, h, query), &got); got.Total != want {
					t.Errorf("%s: %d of the path %q, want %d", query, got.Total, path, want)
				}
			}
		}
	}
	if asked < 20 {
		t.Errorf("%d paths are listed, of %d records", asked, len(records))
	}
}

func answer(t *testing.T, body string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), into); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
}
