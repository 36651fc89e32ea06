package extract

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// event is the part of a Jetstream event that matters here.
type event struct {
	Kind   string
	Commit struct {
		Operation  string
		Collection string
		Rkey       string
		Record     json.RawMessage
	}
}

// readEvents returns the events of a file of one JSON object a line.
func readEvents(t testing.TB, name string) []event {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var events []event
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		var e event
		if err := json.Unmarshal(scan.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	if err := scan.Err(); err != nil {
		t.Fatal(err)
	}
	return events
}

// Events of the network as Jetstream sent them, against lists of links that were checked by hand.
func TestEvents(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"events-kinds", "events-152"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got bytes.Buffer
			for i, e := range readEvents(t, name+".jsonl") {
				if e.Commit.Record == nil {
					continue
				}
				fmt.Fprintf(&got, "%d %s %s\n", i+1, e.Commit.Collection, e.Commit.Rkey)
				links, _ := both(t, Limits{}, string(e.Commit.Record))
				for _, l := range links {
					fmt.Fprintf(&got, "\t%s\t%s\n", l.path, l.target)
				}
			}
			golden := "testdata/" + name + ".links"
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("links differ from %s; got:\n%s", golden, got.Bytes())
			}
		})
	}
}
