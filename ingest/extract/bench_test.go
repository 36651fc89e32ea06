package extract

import (
	"fmt"
	"testing"
)

// benchRecords has a like and a post with facets, as the network sends them, and one far larger than usual.
func benchRecords(t testing.TB) map[string]string {
	out := map[string]string{}
	for _, e := range readEvents(t, "events-152.jsonl") {
		switch {
		case e.Commit.Rkey == "3mptbyplj5d2a":
			out["like"] = string(e.Commit.Record)
		case e.Commit.Rkey == "3mptbyoeyc22k":
			out["post"] = string(e.Commit.Record)
		}
	}
	large := `{"items":[`
	for i := range 1000 {
		large += fmt.Sprintf(`{"$type":"com.example.item","uri":"https://example.com/%d"},`, i)
	}
	out["thousand"] = large + `{}]}`
	if len(out) != 3 {
		t.Fatal("events are missing")
	}
	return out
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	x := New(Limits{})
	for name, record := range benchRecords(t) {
		asJSON, asCBOR := []byte(record), toCBOR(t, record)
		if n := testing.AllocsPerRun(100, func() { x.JSON(asJSON) }); n != 0 {
			t.Errorf("%s: JSON allocates %v times", name, n)
		}
		if n := testing.AllocsPerRun(100, func() { x.CBOR(asCBOR) }); n != 0 {
			t.Errorf("%s: CBOR allocates %v times", name, n)
		}
	}
}

func BenchmarkExtract(b *testing.B) {
	records := benchRecords(b)
	for _, name := range []string{"like", "post", "thousand"} {
		asJSON, asCBOR := []byte(records[name]), toCBOR(b, records[name])
		bench := func(form string, record []byte, read func(*Extractor, []byte) ([]Link, error)) {
			b.Run(name+"/"+form, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(record)))
				x := New(Limits{})
				for b.Loop() {
					if _, err := read(x, record); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		bench("cbor", asCBOR, (*Extractor).CBOR)
		bench("json", asJSON, (*Extractor).JSON)
	}
}
