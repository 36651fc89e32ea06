// Package body keeps the content of records small: each is a zstd frame of its own, with a dictionary that was trained on
// records. A frame names its dictionary, so that later ones can stand beside it. Once shipped, a dictionary never changes.
package body

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base32"
	"fmt"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Max is how large a record may be, in bytes. The protocol's specification of sync ends at a million.
const Max = 1 << 20

// Digest is the SHA-256 of a record's DAG-CBOR: what its CID says beside that it is one of DAG-CBOR and SHA-256.
type Digest [sha256.Size]byte

// Sum is the digest of a record.
func Sum(cbor []byte) Digest { return sha256.Sum256(cbor) }

// prefix begins the CID of a record: version 1, DAG-CBOR, SHA-256, 32 bytes.
var prefix = [4]byte{0x01, 0x71, 0x12, 0x20}

// textLen is the length of a CID as text: b, and 36 bytes in base32.
const textLen = 59

var alphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ParseCID reads a record's CID as text. It is false for what is none, or of another kind than the protocol's records have.
func ParseCID(text string) (d Digest, ok bool) {
	var raw [len(prefix) + len(d)]byte
	if len(text) != textLen || text[0] != 'b' || strings.ContainsAny(text, "\r\n") { // which the decoder would pass over
		return d, false
	}
	n, err := alphabet.Decode(raw[:], []byte(text[1:]))
	if err != nil || n != len(raw) || [4]byte(raw[:4]) != prefix {
		return d, false
	}
	d = Digest(raw[4:])
	return d, d.CID() == text // bits beyond the last byte are a second spelling
}

// CID is the record's CID as text.
func (d Digest) CID() string {
	var raw [len(prefix) + len(d)]byte
	copy(raw[copy(raw[:], prefix[:]):], d[:])
	return "b" + alphabet.EncodeToString(raw[:])
}

// dictionary is the newest, which new frames are written with. Its number is from the range that zstd leaves to anyone.
//
//go:embed 32769.zdict
var dictionary []byte

// dictionaries are all that ever were: frames of each may be anywhere.
var dictionaries = [][]byte{dictionary}

// decoders is how many bodies are decoded at once: as many as the store has readers.
const decoders = 4

var encoder = sync.OnceValue(func() *zstd.Encoder {
	// The fastest level gives up 2 or 3 % of the size for half the time. A single segment has the record's length in its
	// header. The digest does what a checksum would.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderDict(dictionary), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(fmt.Errorf("body: the dictionary that was built in: %w", err))
	}
	return e
})

var decoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderDicts(dictionaries...), zstd.WithDecoderMaxMemory(Max), zstd.WithDecoderConcurrency(decoders))
	if err != nil {
		panic(fmt.Errorf("body: the dictionaries that were built in: %w", err))
	}
	return d
})

// Encode appends a record's frame to dst.
func Encode(dst, cbor []byte) []byte { return encoder().EncodeAll(cbor, dst) }

// Decode is the record in a frame. No frame makes it take more than Max bytes.
func Decode(frame []byte) ([]byte, error) {
	record, err := decoder().DecodeAll(frame, nil)
	if err != nil {
		return nil, fmt.Errorf("body: decode: %w", err)
	}
	return record, nil
}

// HeaderLen is how much of a frame Len needs.
const HeaderLen = zstd.HeaderMaxSize

// Len is the length of the record in a frame, as the frame's header says; 0 where it doesn't.
func Len(frame []byte) int64 {
	var h zstd.Header
	if h.Decode(frame) != nil || !h.HasFCS {
		return 0
	}
	return int64(h.FrameContentSize)
}
