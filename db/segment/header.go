package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// errNotSegment is the error of Open for a file that is not a segment.
var errNotSegment = errors.New("not a segment")

// readHeader checks the header of a SQLite file before SQLite reads it: the application, the format and the full
// length. It returns the length in bytes.
func readHeader(path string) (size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	// https://www.sqlite.org/fileformat.html, section 1.3
	var h [100]byte
	if _, err := io.ReadFull(f, h[:]); err != nil {
		return 0, fmt.Errorf("%w: its header is truncated", errDamaged)
	}
	if string(h[:16]) != "SQLite format 3\x00" || binary.BigEndian.Uint32(h[68:]) != applicationID {
		return 0, fmt.Errorf("%w: it has another application's header", errNotSegment)
	}
	if v := binary.BigEndian.Uint32(h[60:]); v < oldestFormat || v > format {
		return 0, fmt.Errorf("%w: its format is %d, and this weft reads %d to %d: "+
			"run the weft version that wrote it, or a newer one", ErrFormat, v, oldestFormat, format)
	}
	pageSize := int64(binary.BigEndian.Uint16(h[16:]))
	if pageSize == 1 {
		pageSize = 65536
	}
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if want := pageSize * int64(binary.BigEndian.Uint32(h[28:])); st.Size() != want {
		return 0, fmt.Errorf("%w: it has %d bytes of %d", errDamaged, st.Size(), want)
	}
	return st.Size(), nil
}
