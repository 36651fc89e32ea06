package replica

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync/atomic"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
)

// objects reads and writes small files beneath a replica's path. Litestream's clients know LTX files only, and none of them
// can create a file on the condition that it isn't there. Names have slashes.
type objects interface {
	// list answers the names of the files in a directory, without the directory. A directory that is missing has none.
	list(ctx context.Context, dir string) ([]string, error)
	// read answers fs.ErrNotExist for a file that is missing.
	read(ctx context.Context, name string) ([]byte, error)
	// create answers fs.ErrExist for a file that is there.
	create(ctx context.Context, name string, data []byte) error
	// write replaces the contents of a file, or creates it.
	write(ctx context.Context, name string, data []byte) error
	// missing answers those of the names that are not there. All of them are beneath dir.
	missing(ctx context.Context, dir string, names []string) ([]string, error)
	close() error
}

// objects is the place for small files beneath the replica's path.
func (c Config) objects() (objects, error) {
	switch c.Type {
	case "file":
		return dirObjects{c.Path}, nil
	case "s3":
		return &s3Objects{cfg: c}, nil
	case "sftp":
		return &sftpObjects{cfg: c}, nil
	}
	return nil, fmt.Errorf("replica: no files for the type %q", c.Type)
}

// fileOf is the name of the one file of an immutable database at sub, beneath the replica's path.
func (c Config) fileOf(sub string) string {
	if c.Type == "s3" {
		return path.Join(sub, fmt.Sprintf("%04x", snapshotLevel), ltx.FormatFilename(soleTXID, soleTXID))
	}
	return litestream.LTXFilePath(sub, snapshotLevel, soleTXID, soleTXID)
}

// dirObjects are the files of a directory.
type dirObjects struct{ root string }

func (o dirObjects) at(name string) string { return filepath.Join(o.root, filepath.FromSlash(name)) }

func (o dirObjects) list(_ context.Context, dir string) ([]string, error) {
	entries, err := os.ReadDir(o.at(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (o dirObjects) read(_ context.Context, name string) ([]byte, error) {
	return os.ReadFile(o.at(name))
}

// temporary numbers the files that are not in place yet.
var temporary atomic.Uint64

// stage writes a file under another name in the same file system, and not in a directory that is listed.
func (o dirObjects) stage(name string, data []byte) (string, error) {
	if err := os.MkdirAll(filepath.Dir(o.at(name)), 0o755); err != nil {
		return "", err
	}
	staged := filepath.Join(o.root, fmt.Sprintf(".weft-%d-%d.tmp", os.Getpid(), temporary.Add(1)))
	if err := os.WriteFile(staged, data, 0o644); err != nil {
		return "", errors.Join(err, os.Remove(staged))
	}
	return staged, nil
}

// create makes a hard link, which fails where the name is taken, and shows all of the file or nothing.
func (o dirObjects) create(_ context.Context, name string, data []byte) error {
	staged, err := o.stage(name, data)
	if err != nil {
		return err
	}
	err = os.Link(staged, o.at(name))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = createExclusive(o.at(name), data) // a file system without hard links
	}
	return errors.Join(err, os.Remove(staged))
}

func createExclusive(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

func (o dirObjects) write(_ context.Context, name string, data []byte) error {
	staged, err := o.stage(name, data)
	if err != nil {
		return err
	}
	if err := os.Rename(staged, o.at(name)); err != nil {
		return errors.Join(err, os.Remove(staged))
	}
	return nil
}

func (o dirObjects) missing(_ context.Context, _ string, names []string) ([]string, error) {
	var gone []string
	for _, name := range names {
		_, err := os.Stat(o.at(name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			gone = append(gone, name)
		case err != nil:
			return nil, err
		}
	}
	return gone, nil
}

func (o dirObjects) close() error { return nil }
