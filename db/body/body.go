// Package body compresses the content of records. Each record is a zstd frame of its own, with a dictionary trained on
// records. A frame names its dictionary, so that newer dictionaries can be added. A released dictionary never changes.
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

// Max is the maximum size of a record in bytes. The protocol's sync specification has a limit of 1,000,000.
const Max = 1 << 20

// Digest is the SHA-256 of a record's DAG-CBOR: the part of its CID that differs from record to record.
type Digest [sha256.Size]byte

// Sum returns the digest of a record.
func Sum(cbor []byte) Digest { return sha256.Sum256(cbor) }

// prefix is the start of a record's CID: version 1, DAG-CBOR, SHA-256, 32 bytes.
var prefix = [4]byte{0x01, 0x71, 0x12, 0x20}

// textLen is the length of a CID as text: b and 36 bytes in base32.
const textLen = 59

var alphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ParseCID parses a record's CID. ok is false for invalid text and for CIDs of kinds that records don't have.
func ParseCID(text string) (d Digest, ok bool) {
	var raw [len(prefix) + len(d)]byte
	// The decoder would ignore line breaks.
	if len(text) != textLen || text[0] != 'b' || strings.ContainsAny(text, "\r\n") {
		return d, false
	}
	n, err := alphabet.Decode(raw[:], []byte(text[1:]))
	if err != nil || n != len(raw) || [4]byte(raw[:4]) != prefix {
		return d, false
	}
	d = Digest(raw[4:])
	return d, d.CID() == text // bits after the last byte would give a second spelling
}

// CID returns the record's CID as text.
func (d Digest) CID() string {
	var raw [len(prefix) + len(d)]byte
	copy(raw[copy(raw[:], prefix[:]):], d[:])
	return "b" + alphabet.EncodeToString(raw[:])
}

// dictionary is the newest dictionary, used for new frames. Its number is from zstd's range for private use.
//
//go:embed 32769.zdict
var dictionary []byte

// dictionaries are all released dictionaries, because stored frames may use any of them.
var dictionaries = [][]byte{dictionary}

// decoders is the number of concurrent decoders: the number of readers of the store.
const decoders = 4

var encoder = sync.OnceValue(func() *zstd.Encoder {
	// The fastest level takes half the time for 2 to 3 % more bytes. A single segment has the record's length in its
	// header. The digest replaces the checksum.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderDict(dictionary), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true), zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(fmt.Errorf("body: embedded dictionary: %w", err))
	}
	return e
})

var decoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderDicts(dictionaries...), zstd.WithDecoderMaxMemory(Max),
		zstd.WithDecoderConcurrency(decoders))
	if err != nil {
		panic(fmt.Errorf("body: embedded dictionaries: %w", err))
	}
	return d
})

// Encode appends a record's frame to dst.
func Encode(dst, cbor []byte) []byte { return encoder().EncodeAll(cbor, dst) }

// Decode decodes a frame. It returns an error for a record of more than Max bytes.
func Decode(frame []byte) ([]byte, error) {
	record, err := decoder().DecodeAll(frame, nil)
	if err != nil {
		return nil, fmt.Errorf("body: decode: %w", err)
	}
	return record, nil
}

// HeaderLen is the number of leading bytes of a frame that Len needs.
const HeaderLen = zstd.HeaderMaxSize

// Len returns the length of the record in a frame by the frame's header; 0 if the header has none.
func Len(frame []byte) int64 {
	var h zstd.Header
	if h.Decode(frame) != nil || !h.HasFCS {
		return 0
	}
	return int64(h.FrameContentSize)
}
