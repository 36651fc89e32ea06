package db

import (
	"encoding/binary"
	"errors"
	"math"

	"weft.dev/weft/db/lsm"
	"weft.dev/weft/link"
)

// Keys are compared byte-wise. Every part ends itself, so that a key can be cut into its parts from the front, and that
// all keys with the same leading parts are one range. docs/storage.md gives them byte by byte.
//
//	target   = 0x01 actor 0x00                        a DID
//	         | 0x01 actor 0x01                        at://did
//	         | 0x01 actor 0x02 collection 0x00        at://did/collection
//	         | 0x01 actor 0x02 collection rkey        at://did/collection/rkey
//	         | 0x02 text 0x00                         anything else, as it is normalised
//	rkey     = 0x01 (8 bytes)                         a TID
//	         | 0x02 text 0x00                         any other record key
//	place    = 0x03 (2 bytes)                         a TID whose time is the rank: its clock id
//	         | rkey                                   any other record key
//	by target: target source ^rank actor place        → 1: linked, 0: no longer
//	by record: actor collection rkey                  → the record's links; none: the record is gone
//	           actor 0x00                             → the newest rev of the account
//	by name:   'd' did | 'c' nsid | 's' collection path → id
//
// Ids are written by appendID; rank is 8 bytes, big-endian, inverted, so that the newest link comes first.
const (
	tagActor byte = 1
	tagText  byte = 2

	formDID        byte = 0
	formRepo       byte = 1
	formCollection byte = 2

	rkeyNone byte = 0
	rkeyTID  byte = 1
	rkeyText byte = 2
	// Most ranks are the time in the TID, which need not stand in a key twice: a quarter of a segment's run by target.
	rkeyClock byte = 3
)

var errKey = errors.New("malformed key")

// appendID writes an id so that ids compare like their encodings: the number of its bytes, then its bytes, big-endian.
func appendID(dst []byte, id uint64) []byte {
	n := byte(0)
	for v := id; v > 0; v >>= 8 {
		n++
	}
	dst = append(dst, n)
	for i := int(n) - 1; i >= 0; i-- {
		dst = append(dst, byte(id>>(8*i)))
	}
	return dst
}

// cutID reads what appendID wrote.
func cutID(key []byte) (id uint64, rest []byte, err error) {
	if len(key) == 0 || key[0] > 8 || len(key) < 1+int(key[0]) {
		return 0, nil, errKey
	}
	for _, b := range key[1 : 1+key[0]] {
		id = id<<8 | uint64(b)
	}
	return id, key[1+key[0]:], nil
}

func appendRkey(dst []byte, rkey string) []byte {
	if tid, ok := link.ParseTID(rkey); ok {
		return binary.BigEndian.AppendUint64(append(dst, rkeyTID), tid)
	}
	return append(append(append(dst, rkeyText), rkey...), 0)
}

// cutRkey reads what appendRkey wrote; raw is the encoding.
func cutRkey(key []byte) (raw, rest []byte, err error) {
	if len(key) == 0 {
		return nil, nil, errKey
	}
	switch key[0] {
	case rkeyTID:
		if len(key) >= 9 {
			return key[:9], key[9:], nil
		}
	case rkeyText:
		if n := textLen(key[1:]); n > 0 {
			return key[:1+n], key[1+n:], nil
		}
	}
	return nil, nil, errKey
}

// rkeyString is the record key of an encoding.
func rkeyString(raw []byte) string {
	if raw[0] == rkeyTID {
		return string(link.AppendTID(nil, binary.BigEndian.Uint64(raw[1:])))
	}
	return string(raw[1 : len(raw)-1])
}

// textLen is the length of the text at the front of key with the zero that ends it; 0 when there is none.
func textLen(key []byte) int {
	for i, b := range key {
		if b == 0 {
			return i + 1
		}
	}
	return 0
}

// targetLen is the length of the target at the front of key, and 0 when there is none.
func targetLen(key []byte) int {
	if len(key) < 3 {
		return 0
	}
	if key[0] == tagText {
		if n := textLen(key[1:]); n > 0 {
			return 1 + n
		}
		return 0
	}
	_, rest, err := cutID(key[1:])
	if key[0] != tagActor || err != nil || len(rest) == 0 {
		return 0
	}
	n := len(key) - len(rest) + 1
	if rest[0] != formCollection {
		return n
	}
	if _, rest, err = cutID(rest[1:]); err != nil || len(rest) == 0 {
		return 0
	}
	if rest[0] != rkeyNone {
		if _, rest, err = cutRkey(rest); err != nil {
			return 0
		}
		return len(key) - len(rest)
	}
	return len(key) - len(rest) + 1
}

// position is the part of a by-target key that follows target and source: where a link stands in its list.
type position struct {
	rank  uint64 // microseconds since 1970
	actor uint64
	place []byte // the record key, encoded as in the key
}

// clockBits is the clock id at the low end of a TID, below its time.
const clockBits = 10

func (p position) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, ^p.rank)
	dst = appendID(dst, p.actor)
	return append(dst, p.place...)
}

// appendPlace encodes a record key, itself encoded, for a link of this rank.
func appendPlace(dst []byte, rank uint64, rkey []byte) []byte {
	if us, ok := tidRank(rkey); !ok || us != rank {
		return append(dst, rkey...)
	}
	return append(dst, rkeyClock, rkey[7]&(1<<(clockBits-8)-1), rkey[8])
}

// rkey is the record key, encoded.
func (p position) rkey() []byte {
	if p.place[0] != rkeyClock {
		return p.place
	}
	clock := uint64(p.place[1])<<8 | uint64(p.place[2])
	return binary.BigEndian.AppendUint64([]byte{rkeyTID}, p.rank<<clockBits|clock)
}

// cutPosition reads a position from the front of key.
func cutPosition(key []byte) (p position, rest []byte, err error) {
	if len(key) < 8 {
		return p, nil, errKey
	}
	p.rank = ^binary.BigEndian.Uint64(key)
	if p.actor, rest, err = cutID(key[8:]); err != nil {
		return p, nil, err
	}
	if len(rest) >= 3 && rest[0] == rkeyClock {
		if rest[1] >= 1<<(clockBits-8) || p.rank >= 1<<(64-clockBits) {
			return p, nil, errKey
		}
		p.place = rest[:3]
		return p, rest[3:], nil
	}
	p.place, rest, err = cutRkey(rest)
	return p, rest, err
}

// maxSkewUS is how far a record's TID may lie ahead of the upstream's clock and still rank it: five minutes, the
// skew that atproto servers commonly allow. A TID beyond it is an invention.
const maxSkewUS = 5 * 60 * 1_000_000

// rankOf is where a link stands among the links to its target: the time in its TID when it is plausible, else the
// event's. derived says that the TID alone gives it.
func rankOf(rkey []byte, timeUS int64) (rank uint64, derived bool) {
	if rank, ok := tidRank(rkey); ok && int64(rank) <= timeUS+maxSkewUS {
		return rank, true
	}
	return uint64(max(timeUS, 0)), false
}

// tidRank is the time in an encoded TID, in microseconds since 1970.
func tidRank(rkey []byte) (uint64, bool) {
	if rkey[0] != rkeyTID {
		return 0, false
	}
	return uint64(link.TIDTimeUS(binary.BigEndian.Uint64(rkey[1:]))), true
}

// The three orders that the index keeps.
var (
	byTarget = lsm.Order{
		Group: func(key []byte) int { return targetLen(key) },
		Weight: func(value []byte) int {
			if value[0] == linked {
				return 1
			}
			return -1
		},
		// One writer looks every record up before it changes it, so additions and removals of a link alternate: the two
		// of a pair leave nothing, whichever came first.
		Cancels: func(older, newer []byte) bool { return older[0] != newer[0] },
		Dead:    func(value []byte) bool { return value[0] == unlinked },
	}
	byRecord = lsm.Order{
		Group: func(key []byte) int { return len(key) },
		Dead:  func(value []byte) bool { return len(value) == 0 },
	}
	byName = lsm.Order{
		Group: func(key []byte) int { return len(key) },
	}
)

// listMember tells which list a key by target is in, by the length of the list's prefix, and whose link it is. Ids
// that 32 bits don't hold are left to a walk.
func listMember(key []byte) (prefix int, member uint32, ok bool) {
	_, rest, err := cutID(key[targetLen(key):])
	if err != nil {
		return 0, 0, false
	}
	p, _, err := cutPosition(rest)
	return len(key) - len(rest), uint32(p.actor), err == nil && p.actor <= math.MaxUint32
}

// recordMinute is the minute of the TID in a key by record, in minutes since 1970. A segment that is sealed from the live
// stream covers a few of them, so that a record that is new is known to be so without a look at any file; with hours,
// a dozen files would cover the one at hand.
func recordMinute(key []byte) (minute int64, ok bool) {
	_, _, rkey, err := cutRecordKey(key)
	if err != nil {
		return 0, false
	}
	us, ok := tidRank(rkey)
	return int64(us / 60_000_000), ok
}

const (
	unlinked byte = 0
	linked   byte = 1
)
