package inspect_test

import (
	"encoding/json"
	"strings"
	"testing"

	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/inspect"
)

// TestReadLog: log rows come with their names, from a row on or the newest ones, and a damaged block is named.
func TestReadLog(t *testing.T) {
	t.Parallel()
	dir := dbtest.Fixture(t)
	read := func(from, limit uint64) (lines []string) {
		t.Helper()
		if err := inspect.ReadLog(t.Context(), dir, from, limit, func(r *inspect.LogRow) error {
			line, err := json.Marshal(r)
			lines = append(lines, string(line))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return lines
	}
	for _, tc := range []struct {
		from, limit uint64
		rows        int
		first       string
	}{
		{0, 2, 2, `{"seq":1110,"time_us":1770000001110000,"op":"delete","did":"did:plc:aaaaaaaaaaaaaaaaaaaaaaak",` +
			`"collection":"app.bsky.feed.like","rkey":"3mdtsyo3ktc22","rev":"3mdtsyp55zk22","removed":[{"path":"subject.uri",` +
			`"target":"` + dbtest.FixturePost + `"}]}`},
		{1, 1025, 1025, `{"seq":1,`},
		{1106, 100, 6, `{"seq":1106,"time_us":1770000001106000,"op":"account","did":"did:plc:aaaaaaaaaaaaaaaaaaaaaaag",` +
			`"was":"active","status":"deleted"}`},
		{1109, 1, 1, `{"seq":1109,"time_us":1770000001109000,"op":"update","did":"did:plc:aaaaaaaaaaaaaaaaaaaaaaal",` +
			`"collection":"app.bsky.feed.like"`},
		{2000, 5, 0, ""},
	} {
		lines := read(tc.from, tc.limit)
		if len(lines) != tc.rows || len(lines) > 0 && !strings.HasPrefix(lines[0], tc.first) {
			t.Errorf("from %d: %d rows, the first is\n%s, want\n%s", tc.from, len(lines), strings.Join(lines, "\n"), tc.first)
		}
	}
	dbtest.Statements("UPDATE log SET rows = x'01' WHERE first = 1025")(t, dir)
	n := 0
	err := inspect.ReadLog(t.Context(), dir, 1000, 100, func(*inspect.LogRow) error { n++; return nil })
	if n != 25 || err == nil || !strings.Contains(err.Error(), "the block of log rows 1025 to 1101 is damaged") {
		t.Errorf("%d rows, then %v", n, err)
	}
}
