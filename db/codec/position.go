package codec

import (
	"encoding/binary"
	"fmt"
	"math"

	"weft.dev/weft/link"
)

// The values of the entries by target.
const (
	Unlinked byte = 0
	Linked   byte = 1
)

// ListPosition is the position of a link in its list: the part of a key by target that follows target and source.
type ListPosition struct {
	Rank       uint64 // microseconds since 1970
	AccountID  uint64
	RkeySuffix []byte // the record key, without the time that is the rank
}

// clockBits is the size of the clock id at the low end of a TID, below its time.
const clockBits = 10

// Append encodes the position.
func (p ListPosition) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, ^p.Rank)
	dst = AppendID(dst, p.AccountID)
	return append(dst, p.RkeySuffix...)
}

// AppendRkeySuffix encodes the suffix of a link of this rank from its encoded record key.
func AppendRkeySuffix(dst []byte, rank uint64, rkey []byte) []byte {
	us, ok := TIDRank(rkey)
	if !ok || us != rank {
		return append(dst, rkey...)
	}
	return append(dst, rkeyClock, rkey[7]&(1<<(clockBits-8)-1), rkey[8])
}

// Rkey returns the record key, encoded.
func (p ListPosition) Rkey() []byte {
	if p.RkeySuffix[0] != rkeyClock {
		return p.RkeySuffix
	}
	clock := uint64(p.RkeySuffix[1])<<8 | uint64(p.RkeySuffix[2])
	return binary.BigEndian.AppendUint64([]byte{rkeyTID}, p.Rank<<clockBits|clock)
}

// AppendRkeyText appends the text of the record key.
func (p ListPosition) AppendRkeyText(dst []byte) []byte {
	if p.RkeySuffix[0] != rkeyClock {
		return AppendRkeyText(dst, p.RkeySuffix)
	}
	clock := uint64(p.RkeySuffix[1])<<8 | uint64(p.RkeySuffix[2])
	return link.AppendTID(dst, p.Rank<<clockBits|clock)
}

// DecodePosition reads a position from the front of key.
func DecodePosition(key []byte) (p ListPosition, rest []byte, err error) {
	if len(key) < 8 {
		return p, nil, ErrMalformed
	}
	p.Rank = ^binary.BigEndian.Uint64(key)
	p.AccountID, rest, err = DecodeID(key[8:])
	if err != nil {
		return p, nil, err
	}
	if len(rest) >= 3 && rest[0] == rkeyClock {
		if rest[1] >= 1<<(clockBits-8) || p.Rank >= 1<<(64-clockBits) {
			return p, nil, ErrMalformed
		}
		p.RkeySuffix = rest[:3]
		return p, rest[3:], nil
	}
	p.RkeySuffix, rest, err = DecodeRkey(rest)
	return p, rest, err
}

// RankPrefix encodes the rank of a position alone.
func RankPrefix(rank uint64) []byte { return binary.BigEndian.AppendUint64(nil, ^rank) }

// MaxSkewUS is how far a record's TID may be ahead of the upstream's clock and still give the rank: five minutes, the
// skew that atproto servers commonly allow. A TID that is further ahead is invented.
const MaxSkewUS = 5 * 60 * 1_000_000

// RankOf returns the rank of a record's links: the time in its TID when that is plausible, else the event's. derived
// reports that the TID alone gives it.
func RankOf(rkey []byte, timeUS int64) (rank uint64, derived bool) {
	rank, ok := TIDRank(rkey)
	if ok && int64(rank) <= timeUS+MaxSkewUS {
		return rank, true
	}
	return uint64(max(timeUS, 0)), false
}

// TIDRank returns the time in an encoded TID, in microseconds since 1970.
func TIDRank(rkey []byte) (uint64, bool) {
	if rkey[0] != rkeyTID {
		return 0, false
	}
	return uint64(link.TIDTimeUS(binary.BigEndian.Uint64(rkey[1:]))), true
}

// ListOf returns the length of the prefix of a key by target that names its list, which is the target and the source,
// and the source.
func ListOf(key []byte) (prefix int, source uint64, err error) {
	source, rest, err := DecodeID(key[TargetLen(key):])
	if err != nil {
		return 0, 0, fmt.Errorf("db: link key %x: %w", key, err)
	}
	return len(key) - len(rest), source, nil
}

// ListMember returns the length of the prefix of a key by target that names its list, and the account of the link. ok
// is false for an id that 32 bits don't hold.
func ListMember(key []byte) (prefix int, member uint32, ok bool) {
	_, rest, err := DecodeID(key[TargetLen(key):])
	if err != nil {
		return 0, 0, false
	}
	p, _, err := DecodePosition(rest)
	return len(key) - len(rest), uint32(p.AccountID), err == nil && p.AccountID <= math.MaxUint32
}

// RecordMinute returns the minute of the TID in a key by record, in minutes since 1970. A segment that is sealed from
// the live stream covers a few minutes, so that no file is read to learn that a record is new; with hours, a dozen
// files would cover the present one.
func RecordMinute(key []byte) (minute int64, ok bool) {
	_, _, rkey, err := DecodeRecordKey(key)
	if err != nil {
		return 0, false
	}
	us, ok := TIDRank(rkey)
	return int64(us / 60_000_000), ok
}
