package api

import (
	"bytes"
	"encoding/json"
	"testing"

	"weft.dev/weft/api/wire"
)

// TestAppendedJSON compares the answers that append their JSON with encoding/json.
func TestAppendedJSON(t *testing.T) {
	t.Parallel()
	texts := []string{"", "did:plc:a", `"`, `\`, "\n\r\t\b\f\x00\x1f\x7f", "<a>&", "ü€😀", "\u2028\u2029", "\xff\xc3",
		"a\xc3"}
	cursor := "AQK7Hp_9-"
	strange := "\"\xff"
	for _, text := range texts {
		records := []wire.Record{{DID: text, Collection: "a.b.c", Rkey: "1"}, {DID: "d", Collection: text, Rkey: text}}
		for _, next := range []*string{nil, &cursor, &strange} {
			for _, answer := range []wire.Appender{
				wire.Total{Total: int64(len(text))}, wire.Total{Total: -1 << 63},
				wire.Backlinks{}, wire.Backlinks{Records: []wire.Record{}, Cursor: next},
				wire.Backlinks{Total: 2, Records: records, Cursor: next},
				wire.LinkingRecords{}, wire.LinkingRecords{Total: 1 << 40, LinkingRecords: records[:1], Cursor: next},
				wire.LinkingDIDs{}, wire.LinkingDIDs{Total: 1, LinkingDIDs: texts, Cursor: next},
				wire.DIDs{}, wire.DIDs{Total: 1, DIDs: []string{text, text}, Cursor: next}, wire.DIDs{DIDs: []string{}},
			} {
				var want bytes.Buffer
				enc := json.NewEncoder(&want)
				enc.SetEscapeHTML(false)
				if err := enc.Encode(answer); err != nil {
					t.Fatal(err)
				}
				if got := encodeJSON(answer); string(got)+"\n" != want.String() {
					t.Errorf("%#v:\n%q, want\n%q", answer, got, want.String())
				}
			}
		}
	}
}
