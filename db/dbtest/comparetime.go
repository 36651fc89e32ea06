package dbtest

import (
	"context"
	"fmt"
	"math"

	"weft.dev/weft/db"
)

// compareTimeline holds the spans of a list, whole and from a link in its middle on, against the times of its links.
func compareTimeline(ctx context.Context, x Index, list List, want []Link, most int) error {
	for _, since := range []int64{0, int64(min(want[len(want)/2].Rank, math.MaxInt64))} {
		q := db.TimelineQuery{Target: list.Target, Sources: []db.Source{list.Source, {Collection: "com.example.nothing",
			Path: "x"}}, Since: since, Most: most}
		t, err := x.Timeline(ctx, q)
		if err != nil {
			return err
		}
		l := t.Lists[0]
		counts := make([]int64, len(l.Counts))
		var total, older int64
		for _, w := range want {
			us := int64(w.Rank)
			if us < since {
				continue
			}
			total++
			if t.FromUS == 0 || us < t.FromUS {
				older++
			} else if n := (us - t.FromUS) / t.StepUS; n < int64(len(counts)) {
				counts[n]++
			}
		}
		if l.Total != total || l.Older != older || fmt.Sprint(l.Counts) != fmt.Sprint(counts) || len(counts) > most {
			return fmt.Errorf("%v by time, since %d: the index has %d, %d older, spans of %d from %d: %v; the model "+
				"%d, %d, %v",
				list, since, l.Total, l.Older, t.StepUS, t.FromUS, l.Counts, total, older, counts)
		}
		if none := t.Lists[1]; none.Total != 0 || none.Older != 0 {
			return fmt.Errorf("%v by time: %d links from a source that is unknown", list, none.Total)
		}
	}
	return nil
}

// compareRecords holds the links of each record against the model's.
func (m *Model) compareRecords(ctx context.Context, x Index) error {
	for _, hidden := range []bool{false, true} {
		var err error
		m.each(func(s db.Status) bool { return s != db.StatusActive == hidden }, func(key db.Record, r record) {
			if err != nil {
				return
			}
			got, failed := x.RecordLinks(ctx, key)
			err = failed
			if err != nil {
				return
			}
			want := len(r.links)
			if hidden {
				want = 0
			}
			seen := map[db.Link]bool{}
			for _, l := range got {
				if _, ok := r.links[l]; !ok {
					err = fmt.Errorf("%v: the index has it link to %v, and the model does not", key, l)
				}
				seen[l] = true
			}
			if err == nil && (len(seen) != want || len(got) != want) {
				err = fmt.Errorf("%v: the index has %d links of it, the model %d", key, len(got), want)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
