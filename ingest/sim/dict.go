package sim

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"weft.dev/weft/ingest/upstream/dictionary"
)

// v2DictionaryID differs from v1's, so that a client that confuses the dictionaries fails.
const v2DictionaryID = 0x77656674

// v2Dictionary is the answer of getZstdDictionary: the v1 dictionary's tables and content, which also suit v2 frames,
// with another id. A structured dictionary has its id after the magic number (RFC 8878, section 5).
var v2Dictionary = func() []byte {
	d := append([]byte(nil), dictionary.V1...)
	binary.LittleEndian.PutUint32(d[4:8], v2DictionaryID)
	return d
}()

// frameEncoder compresses single frames. EncodeAll is safe for concurrent use.
func frameEncoder(dict []byte) (*zstd.Encoder, error) {
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderDict(dict),
		zstd.WithEncoderLevel(zstd.SpeedFastest), // a third of the CPU of the default for 1 % of the ratio
		zstd.WithWindowSize(1<<17),               // as real servers: decoders may depend on it
		zstd.WithEncoderConcurrency(2))
	if err != nil {
		return nil, fmt.Errorf("sim: zstd encoder: %w", err)
	}
	return enc, nil
}
