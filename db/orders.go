package db

import (
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
)

// The three orders that the index keeps.
var (
	byTarget = lsm.Order{
		Group: func(key []byte) int { return codec.TargetLen(key) },
		Weight: func(value []byte) int {
			if value[0] == codec.Linked {
				return 1
			}
			return -1
		},
		// One writer looks every record up before it changes it, so additions and removals of a link alternate: the two
		// of a pair leave nothing, whichever came first.
		Cancels: func(older, newer []byte) bool { return older[0] != newer[0] },
		Dead:    func(value []byte) bool { return value[0] == codec.Unlinked },
	}
	byRecord = lsm.Order{
		Group: func(key []byte) int { return len(key) },
		Dead:  func(value []byte) bool { return len(value) == 0 },
	}
	byName = lsm.Order{
		Group: func(key []byte) int { return len(key) },
	}
)
