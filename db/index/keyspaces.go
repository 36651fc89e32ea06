package index

import (
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
	"weft.dev/weft/db/segment"
)

// The keyspaces of the index.
var (
	ByTarget = lsm.Keyspace{
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
	ByRecord = lsm.Keyspace{
		Prefix:    func(key []byte) int { return len(key) },
		Tombstone: func(value []byte) bool { return len(value) == 0 },
	}
	ByName = lsm.Keyspace{
		Prefix: func(key []byte) int { return len(key) },
	}
)

// The runs of a segment, by their id in the file.
const (
	RunTargets = 1
	RunRecords = 2
	RunNames   = 3
)

// RunIDs are the ids in the order of Snapshot.Trees.
var RunIDs = [3]int{RunTargets, RunRecords, RunNames}

// namesBlock is the size of a compressed block of names. DIDs are random: small blocks compress them as well as large
// ones, and a look-up decodes a quarter as much.
const namesBlock = 2 << 10

// namesFilter is the size of a filter of names, in pages of 4 KiB, up to which it stays in memory: 8 MiB for eight
// million names. Larger ones are those of the oldest few segments, in which most names are found anyway.
const namesFilter = 2048

// plcNames is the fixed form of the names of most accounts.
var plcNames = segment.FixedWidth{
	Size:        codec.PLCSize,
	AppendFixed: codec.AppendPLC,
	AppendKey:   codec.AppendPLCKey,
	Number:      codec.NameID,
	AppendValue: codec.AppendID,
	Order:       codec.NameOrder,
}

// RunKinds describes the runs of a segment.
var RunKinds = map[int]segment.Kind{
	RunTargets: {Keyspace: &ByTarget, List: codec.ListMember},
	RunRecords: {Keyspace: &ByRecord, Minute: codec.RecordMinute},
	RunNames:   {Keyspace: &ByName, BlockSize: namesBlock, Fixed: &plcNames, FilterInMemory: namesFilter},
}
