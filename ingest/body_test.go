package ingest

import (
	"testing"

	"github.com/jcalabro/atmos/cbor"

	"weft.dev/weft/db"
	"weft.dev/weft/db/body"
	"weft.dev/weft/ingest/extract"
	"weft.dev/weft/ingest/upstream"
)

// TestBodyOfJSON: a record in JSON has the content of its CID, also with floats. Otherwise it has no content and is
// counted.
func TestBodyOfJSON(t *testing.T) {
	t.Parallel()
	of := func(v any) string {
		made, err := cbor.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(made)
	}
	const link = "https://example.com/a"
	cid := "bafyreib25swk3a6waplk2ie75u4a3qfejnkoiezfowuz7sa74i7tief3di"
	ref, err := cbor.ParseCIDString(cid)
	if err != nil {
		t.Fatal(err)
	}
	withFloat := map[string]any{"u": link, "value": 0.5, "n": int64(-3),
		"l": []any{1e300, nil, true, map[string]any{"b": []byte("ab"), "c": ref}}}
	const floatJSON = `{"value":0.5,"n":-3,"u":"` + link +
		`","l":[1e300,null,true,{"b":{"$bytes":"YWI"},"c":{"$link":"bafyreib25swk3a6waplk2ie75u4a3qfejnkoiezfowuz7sa74i7tief3di"}}]}`
	whole := map[string]any{"u": link, "value": 1.0}
	for _, tc := range []struct {
		name, json, cid string
		want            string
		bodiless        int
	}{
		{"integers", `{"u":"` + link + `","n":1}`, "", of(map[string]any{"u": link, "n": int64(1)}), 0},
		{"a float", floatJSON, body.Sum([]byte(of(withFloat))).CID(), of(withFloat), 0},
		{"a float and no CID", floatJSON, "", "", 1},
		{"a float and another CID", floatJSON, cid, "", 1},
		{"a float that is no float", `{"u":"` + link + `","value":1e999}`, cid, "", 1},
		{"a whole float that JSON writes as one", `{"u":"` + link + `","value":1.0}`, body.Sum([]byte(of(whole))).CID(),
			of(whole), 0},
		{"an integer beyond 64 bits", `{"u":"` + link + `","value":18446744073709551616}`, cid, "", 1},
		{"a key twice", `{"u":"` + link + `","a":1,"a":2}`, cid, "", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := &batch{bodies: true}
			e := upstream.Event{DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Pos: 1, Op: db.OpCreate, Collection: "app.example.a",
				Rkey: "self", CID: tc.cid, JSON: []byte(tc.json)}
			if err := b.add(&e, extract.New(extract.Limits{}), nil); err != nil {
				t.Fatal(err)
			}
			if got := b.Events[0]; string(got.Body) != tc.want || b.bodiless != tc.bodiless || len(got.Links) != 1 ||
				got.CID != tc.cid {
				t.Errorf("%x of CID %q, %d bodiless; want %x", got.Body, got.CID, b.bodiless, tc.want)
			}
			if b.reset(); b.bodiless != 0 {
				t.Error("the count stays")
			}
		})
	}
}
