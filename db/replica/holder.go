package replica

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"weft.dev/weft/db/replica/restore"
)

// holderFile is the file with the identity of a data directory in leases: KEY/holder.
type holderFile struct {
	Holder string `json:"holder"`
	Host   string `json:"host"`
	Place  string `json:"place"` // of the directory; another one for a copy of it
}

// holderOf returns the identity of a directory. A copy, or the same directory on another machine, has another one.
func holderOf(dir, host string) (string, error) {
	file := path.Join(dir, "holder")
	place, err := directoryID(dir)
	if err != nil {
		return "", err
	}
	var h holderFile
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err == nil && h.Holder != "" && h.Host == host && h.Place == place {
		return h.Holder, nil
	}
	h = holderFile{Holder: rand.Text(), Host: host, Place: place}
	text, err = json.Marshal(h)
	if err != nil {
		return "", fmt.Errorf("replica: %w", err)
	}
	if err := errors.Join(os.WriteFile(file+".tmp", text, 0o644), os.Rename(file+".tmp", file)); err != nil {
		return "", fmt.Errorf("replica: %w", err)
	}
	return h.Holder, restore.SyncDir(dir)
}

// directoryID identifies a directory on this machine: a copy of it has another inode.
func directoryID(dir string) (string, error) {
	full, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("replica: %w", err)
	}
	var s syscall.Stat_t
	if err := syscall.Stat(full, &s); err != nil {
		return "", fmt.Errorf("replica: look at %s: %w", full, err)
	}
	return fmt.Sprintf("%s inode %d", full, s.Ino), nil
}
