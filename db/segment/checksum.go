package segment

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
)

// Checksum reads r to its end and returns the SHA-256 and the size in bytes. SHA-256 also detects deliberate changes,
// sha256sum and object stores know it, and with the processor's instructions it is faster than most disks.
func Checksum(r io.Reader) (sum string, size int64, err error) {
	h := sha256.New()
	// The wrappers hide WriteTo and ReadFrom, so that CopyBuffer uses the buffer.
	size, err = io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{r}, make([]byte, 1<<20))
	if err != nil {
		return "", 0, fmt.Errorf("checksum: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}

// FileChecksum returns the checksum of a file, for comparison with Info.Checksum of the Write that made it.
func FileChecksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("segment: %w", err)
	}
	defer func() { _ = f.Close() }()
	sum, _, err := Checksum(f)
	if err != nil {
		return "", fmt.Errorf("segment: %s: %w", path, err)
	}
	return sum, nil
}
