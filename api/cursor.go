package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strconv"

	"weft.dev/weft/db"
)

// A cursor is the base64url text of
//
//	version (1 byte) | endpoint (1) | query (8) | position (0 to maxPosition) | check (8)
//
// where query is the start of a SHA-256 over all that the position depends on, and check that of one over everything before
// it. Whatever is changed in either half, in the text or in the request that it comes back with, the cursor is refused: a page
// from the wrong place would look like any other. It is no secret and no proof of anything: the store checks positions too.

// endpoint says whose cursor it is. The numbers are part of cursors that clients hold: never change or reuse one.
type endpoint byte

const (
	endBacklinks        endpoint = 1
	endBacklinkDIDs     endpoint = 2
	endManyToMany       endpoint = 3
	endManyToManyCounts endpoint = 4
	endLinks            endpoint = 5
	endDistinctDIDs     endpoint = 6
	endWeftBacklinks    endpoint = 7
	endWeftBacklinkDIDs endpoint = 8
	endAccountBacklinks endpoint = 9
	endLinksAll         endpoint = 10
	endLinksAllCount    endpoint = 11
	endAccountCounts    endpoint = 12
)

const (
	cursorVersion = 1
	hashLen       = 8 // bytes: one in 2^64 damaged cursors gets through to the store's own check
	headLen       = 2 + hashLen

	// In bytes. A position may name a target (8 KiB), a DID (2 KiB), a record key (512 bytes) and a rank; this leaves
	// room for a format around them.
	maxPosition = 12 << 10
)

var maxCursor = base64.RawURLEncoding.EncodedLen(headLen + maxPosition + hashLen)

// sealer makes and reads the cursors of one query.
type sealer struct{ head []byte }

// sealer returns the one for a query, of which Limit and After don't matter: the size of pages may change on the way.
func (s *server) sealer(e endpoint, q db.ManyQuery) sealer {
	h := sha256.New()
	write := func(parts ...string) {
		// Counts and lengths, so that no two queries are the same bytes.
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(parts))))
		for _, s := range parts {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
			h.Write([]byte(s))
		}
	}
	order := "newest"
	if q.Reverse {
		order = "oldest"
	}
	write(s.InstanceID, q.Target, q.Source.Collection, q.Source.Path, q.Other, order)
	write(q.DIDs...)
	write(q.Subjects...)
	write(strconv.FormatInt(q.Since, 10), strconv.FormatInt(q.Until, 10))
	return sealer{append([]byte{cursorVersion, byte(e)}, h.Sum(nil)[:hashLen]...)}
}

// seal returns the cursor for a position, and nil for nil: the end.
func (s sealer) seal(position []byte) (*string, error) {
	if position == nil {
		return nil, nil
	}
	if len(position) > maxPosition {
		return nil, errors.New("a position of the store is too long for a cursor")
	}
	b := append(bytes.Clone(s.head), position...)
	text := base64.RawURLEncoding.EncodeToString(append(b, check(b)...))
	return &text, nil
}

// open returns the position in a cursor, never nil, or errCursor.
func (s sealer) open(text string) ([]byte, error) {
	if len(text) > maxCursor {
		return nil, errCursor
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	// The decoder skips newlines and leftover bits, so one cursor would have many spellings.
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != text {
		return nil, errCursor
	}
	end := len(b) - hashLen
	if end < headLen || !bytes.Equal(b[:headLen], s.head) || !bytes.Equal(b[end:], check(b[:end])) {
		return nil, errCursor
	}
	return b[headLen:end:end], nil
}

// cursor returns the position that the request starts at; nil for the first page.
func (p *params) cursor(s sealer) []byte {
	text, ok := p.text("cursor")
	if !ok {
		return nil
	}
	position, err := s.open(text)
	if err != nil && p.err == nil {
		p.err = err
	}
	return position
}

func check(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:hashLen]
}
