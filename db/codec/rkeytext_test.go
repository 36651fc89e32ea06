package codec

import (
	"testing"

	"weft.dev/weft/link"
)

// TestPositionRkeyText: a position appends the text of its record key, whether its rank has the time of a TID or not.
func TestPositionRkeyText(t *testing.T) {
	t.Parallel()
	tid := string(link.AppendTID(nil, 1_795_699_706_834_445<<10|1023))
	for _, c := range []struct {
		name, rkey string
		rank       uint64
	}{
		{"of its rank", tid, 1_795_699_706_834_445},
		{"of another time", tid, 1_795_699_706_834_446},
		{"no TID", "self", 7},
	} {
		raw := AppendRkey(nil, c.rkey)
		p := ListPosition{Rank: c.rank, AccountID: 3, RkeySuffix: AppendRkeySuffix(nil, c.rank, raw)}
		if got := string(p.AppendRkeyText([]byte("x"))); got != "x"+c.rkey || RkeyString(p.Rkey()) != c.rkey {
			t.Errorf("%s: %q, want %q", c.name, got, c.rkey)
		}
	}
}
