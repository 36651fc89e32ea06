package segment

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
)

// checksum reads a file to its end. SHA-256, for it needs no trust in whoever kept the file meanwhile, sha256sum and
// object stores know it, and processors have instructions for it, so that it is faster than most disks.
func checksum(r io.Reader) (sum string, size int64, err error) {
	h := sha256.New()
	if size, err = io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{r}, make([]byte, 1<<20)); err != nil {
		return "", 0, fmt.Errorf("checksum: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}

// FileChecksum is the checksum of a whole file, as Write gave it, to be held against the one that was noted down then.
func FileChecksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("segment: %w", err)
	}
	defer func() { _ = f.Close() }()
	sum, _, err := checksum(f)
	if err != nil {
		return "", fmt.Errorf("segment: %s: %w", path, err)
	}
	return sum, nil
}
