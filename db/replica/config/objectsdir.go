package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// dirObjects are the files of a directory.
type dirObjects struct {
	root  string
	clean sync.Once
}

// stagedSuffix and stagedPrefix name a file that is not in place yet.
const (
	stagedPrefix = ".weft-"
	stagedSuffix = ".tmp"
)

// staleAfter is the age from which a staged file is a leftover of a killed process: staging one takes milliseconds, and
// another process on another host may be staging one now.
const staleAfter = time.Hour

func (o *dirObjects) at(name string) string { return filepath.Join(o.root, filepath.FromSlash(name)) }

func (o *dirObjects) List(_ context.Context, dir string) ([]string, error) {
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

func (o *dirObjects) Read(_ context.Context, name string) ([]byte, error) {
	return os.ReadFile(o.at(name))
}

// temporary numbers the staged files of this process.
var temporary atomic.Uint64

// stage writes a file under a temporary name in the same file system, in the root, which is never listed.
func (o *dirObjects) stage(name string, data []byte) (string, error) {
	err := os.MkdirAll(filepath.Dir(o.at(name)), 0o755)
	if err != nil {
		return "", err
	}
	o.clean.Do(o.removeStale)
	staged := filepath.Join(o.root, fmt.Sprintf("%s%d-%d%s", stagedPrefix, os.Getpid(), temporary.Add(1), stagedSuffix))
	err = os.WriteFile(staged, data, 0o644)
	if err != nil {
		return "", errors.Join(err, os.Remove(staged))
	}
	return staged, nil
}

// removeStale removes the staged files that killed processes left. A file that cannot be removed does no harm.
func (o *dirObjects) removeStale() {
	entries, err := os.ReadDir(o.root)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), stagedPrefix) || !strings.HasSuffix(e.Name(), stagedSuffix) {
			continue
		}
		info, err := e.Info()
		if err == nil && time.Since(info.ModTime()) > staleAfter {
			_ = os.Remove(filepath.Join(o.root, e.Name()))
		}
	}
}

// Create makes a hard link, which fails if the name exists and shows only a complete file.
func (o *dirObjects) Create(_ context.Context, name string, data []byte) error {
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

func (o *dirObjects) Write(_ context.Context, name string, data []byte) error {
	staged, err := o.stage(name, data)
	if err != nil {
		return err
	}
	err = os.Rename(staged, o.at(name))
	if err != nil {
		return errors.Join(err, os.Remove(staged))
	}
	return nil
}

func (o *dirObjects) Missing(_ context.Context, _ string, names []string) ([]string, error) {
	var missing []string
	for _, name := range names {
		_, err := os.Stat(o.at(name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, name)
		case err != nil:
			return nil, err
		}
	}
	return missing, nil
}

func (o *dirObjects) Close() error { return nil }
