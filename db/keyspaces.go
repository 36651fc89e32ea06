package db

import (
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
)

// The keyspaces of the index.
var (
	byTarget = lsm.Keyspace{
		Prefix: func(key []byte) int { return codec.TargetLen(key) },
		Delta: func(value []byte) int {
			if value[0] == codec.Linked {
				return 1
			}
			return -1
		},
		// One writer looks every record up before it changes it, so additions and removals of a link alternate: the two
		// of a pair leave nothing, whichever came first.
		Annihilates: func(older, newer []byte) bool { return older[0] != newer[0] },
		Tombstone:   func(value []byte) bool { return value[0] == codec.Unlinked },
	}
	byRecord = lsm.Keyspace{
		Prefix:    func(key []byte) int { return len(key) },
		Tombstone: func(value []byte) bool { return len(value) == 0 },
	}
	byName = lsm.Keyspace{
		Prefix: func(key []byte) int { return len(key) },
	}
)
