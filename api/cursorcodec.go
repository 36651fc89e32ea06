package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strconv"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/db"
)

// A cursor is the base64url text of
//
//	version (1 byte) | number of the route (1) | query (8) | position (0 to maxPosition) | checksum (8)
//
// query is the start of a SHA-256 of everything that the position depends on, and checksum the start of one of
// everything before it. A cursor that was changed, or that comes back with another request, is refused: a page from a
// wrong position would look like any other. Cursors are neither secret nor signed: the store checks positions too.

const (
	cursorVersion = 1
	hashLen       = 8 // bytes: one in 2^64 damaged cursors passes to the store's own check
	headLen       = 2 + hashLen

	// maxPosition is in bytes. A position may contain a target (8 KiB), a DID (2 KiB), a record key (512 bytes) and a
	// rank; the rest is for their encoding.
	maxPosition = 12 << 10
)

var maxCursor = base64.RawURLEncoding.EncodedLen(headLen + maxPosition + hashLen)

// cursorCodec encodes and decodes the cursors of one query.
type cursorCodec struct{ head []byte }

// cursorCodec returns the codec of a query. Limit and After do not matter: the size of pages may change on the way.
func (s *server) cursorCodec(route *routes.Route, q db.ManyQuery) cursorCodec {
	h := sha256.New()
	write := func(parts ...string) {
		// Numbers of parts and lengths are hashed, so that no two queries have the same bytes.
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
	return cursorCodec{append([]byte{cursorVersion, route.Cursor}, h.Sum(nil)[:hashLen]...)}
}

// encode returns the cursor of a position, and nil for nil: the end.
func (c cursorCodec) encode(position []byte) (*string, error) {
	if position == nil {
		return nil, nil
	}
	if len(position) > maxPosition {
		return nil, errors.New("a position of the store is too long for a cursor")
	}
	b := append(bytes.Clone(c.head), position...)
	text := base64.RawURLEncoding.EncodeToString(append(b, checksum(b)...))
	return &text, nil
}

// decode returns the position in a cursor, never nil, or errCursor.
func (c cursorCodec) decode(text string) ([]byte, error) {
	if len(text) > maxCursor {
		return nil, errCursor
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	// The decoder ignores newlines and unused bits, so that one cursor would have many spellings.
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != text {
		return nil, errCursor
	}
	end := len(b) - hashLen
	if end < headLen || !bytes.Equal(b[:headLen], c.head) || !bytes.Equal(b[end:], checksum(b[:end])) {
		return nil, errCursor
	}
	return b[headLen:end:end], nil
}

// cursor returns the position that the request starts at; nil for the first page.
func (p *params) cursor(c cursorCodec) []byte {
	text, ok := p.text("cursor")
	if !ok {
		return nil
	}
	position, err := c.decode(text)
	if err != nil && p.err == nil {
		p.err = err
	}
	return position
}

func checksum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:hashLen]
}
