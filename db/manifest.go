package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"modernc.org/sqlite/vfs"

	"weft.dev/weft/db/index"
	"weft.dev/weft/db/sqliteuri"
)

// Restoring is the name of a weft.db during a restore: until it is moved into place there is no index, and no new index
// is begun.
const Restoring = "weft.db.restoring"

// checkRestored refuses a data directory with an interrupted restore: a new index in place of the restored one would be
// a mistake that is noticed late.
func checkRestored(dir string) error {
	_, err := os.Stat(filepath.Join(dir, "weft.db"))
	_, staged := os.Stat(filepath.Join(dir, Restoring))
	if errors.Is(err, os.ErrNotExist) && staged == nil {
		return fmt.Errorf("db: a restore into %s was interrupted: weft restore --data %s resumes it; for a new index, "+
			"remove %s", dir, dir, Restoring)
	}
	return nil
}

// Manifest describes a weft.db and the segment files that belong to it.
type Manifest struct {
	Instance string         `json:"instance"`
	Segments []ManifestFile `json:"-"` // oldest first
	// it begins with its first row, so missing segments can be rebuilt from it
	Whole   bool   `json:"log_whole"`
	LastSeq uint64 `json:"log_seq"` // the newest log row ever, pruned or not; 0: none
	LastUS  int64  `json:"log_us"`  // time of the newest present log row, microseconds since 1970; 0: none
}

// ManifestFile is a file of the directory segments.
type ManifestFile struct {
	File     string `db:"file" json:"file"`
	Bytes    int64  `db:"bytes" json:"bytes"`
	Checksum string `db:"checksum" json:"checksum"` // SHA-256, in hexadecimal
	FromSeq  uint64 `db:"from_seq" json:"from_seq"`
	ToSeq    uint64 `db:"to_seq" json:"to_seq"`
	Links    int64  `db:"links" json:"links"`

	CreatedUS int64 `db:"created_us" json:"created_us"` // when it was written, microseconds since 1970
}

// ManifestOf reads the manifest of a weft.db without a WAL that no process has open, such as a restored one. It also
// reads a weft.db of an older weft.
func ManifestOf(ctx context.Context, path string) (*Manifest, error) {
	uri, err := sqliteuri.File(path)
	if err != nil {
		return nil, err
	}
	return readManifest(ctx, path, uri+"?mode=ro&immutable=1")
}

// ManifestHere reads the manifest of a data directory. A weft may have the directory open.
func ManifestHere(ctx context.Context, dir string) (*Manifest, error) {
	r, err := OpenReadOnly(dir, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return r.manifest(ctx, filepath.Join(dir, "weft.db"))
}

// ManifestIn is ManifestOf for a file of a file system. The file must implement io.Seeker. Only the few pages with the
// manifest are read.
func ManifestIn(ctx context.Context, files fs.FS, name string) (m *Manifest, err error) {
	id, registered, err := vfs.New(files)
	if err != nil {
		return nil, fmt.Errorf("db: read %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, registered.Close()) }()
	return readManifest(ctx, name, "file:"+name+"?immutable=1&vfs="+id)
}

func readManifest(ctx context.Context, name, uri string) (*Manifest, error) {
	r, err := openDatabase(name, uri)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return r.manifest(ctx, name)
}

// manifest reads the manifest of the database with this name.
func (r *ReadOnly) manifest(ctx context.Context, name string) (*Manifest, error) {
	m := &Manifest{}
	oldest, newest, err := r.logEnds(ctx)
	if err != nil {
		return nil, fmt.Errorf("db: read the manifest of %s: %w", name, err)
	}
	var first uint64
	for _, q := range []struct {
		into  any
		query string
	}{
		{&m.Instance, "SELECT value FROM meta WHERE key = 'instance'"},
		{&first, oldest},
		{&m.LastSeq, "SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name IN ('log', 'records')"},
		{&m.LastUS, newest},
	} {
		if err := r.core.Reader.GetContext(ctx, q.into, q.query); err != nil {
			return nil, fmt.Errorf("db: read the manifest of %s: %w", name, err)
		}
	}
	if err := r.core.Reader.SelectContext(ctx, &m.Segments,
		"SELECT file, bytes, checksum, from_seq, to_seq, links, created_us FROM segments ORDER BY from_seq, id"); err != nil {
		return nil, fmt.Errorf("db: read the manifest of %s: %w", name, err)
	}
	m.Whole = first == 1 || m.LastSeq == 0
	for _, s := range m.Segments {
		if !index.SegmentName.MatchString(s.File) || s.ToSeq > m.LastSeq {
			return nil, fmt.Errorf("db: the manifest of %s has the segment %q with log rows up to %d, and the log "+
				"ends at %d",
				name, s.File, s.ToSeq, m.LastSeq)
		}
	}
	return m, nil
}

// logEnds returns the queries of the oldest log row and of the time of the newest one. Up to schema 11 the table
// records had a row for each log row; in schema 12 it has those, the newest, that are not in blocks yet.
func (r *ReadOnly) logEnds(ctx context.Context) (oldest, newest string, err error) {
	var blocks, rows bool
	if err := r.core.Reader.QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE name = 'log'),
		count(*) FILTER (WHERE name = 'records') FROM sqlite_schema WHERE type = 'table'`).Scan(&blocks, &rows); err != nil {
		return "", "", err
	}
	oldest = "SELECT ifnull((SELECT first FROM log WHERE last = (SELECT min(last) FROM log)), 0)"
	newest = "SELECT ifnull((SELECT time_us FROM log ORDER BY last DESC LIMIT 1), 0)"
	const oldestRow = "ifnull((SELECT seq FROM records ORDER BY seq LIMIT 1), 0)"
	const newestRow = "ifnull((SELECT time_us FROM records ORDER BY seq DESC LIMIT 1), 0)"
	switch {
	case blocks && rows:
		return "SELECT iif(EXISTS (SELECT 1 FROM log), (" + oldest + "), " + oldestRow + ")",
			"SELECT iif(EXISTS (SELECT 1 FROM records), " + newestRow + ", (" + newest + "))", nil
	case rows:
		return "SELECT " + oldestRow, "SELECT " + newestRow, nil
	}
	return oldest, newest, nil
}

// manifestFile is a row for other packages.
func manifestFile(r index.ManifestRow) ManifestFile {
	return ManifestFile{File: r.File, Bytes: r.Bytes, Checksum: r.Checksum, FromSeq: r.FromSeq, ToSeq: r.ToSeq,
		Links: r.Links, CreatedUS: r.CreatedUS}
}

// SegmentPaths returns the paths of the segments of the present snapshot, oldest first. A compaction may have replaced
// some of them meanwhile.
func (s *Store) SegmentPaths() []string {
	v := s.core.Acquire()
	defer s.core.Release(v)
	paths := make([]string, 0, len(v.Files.Files))
	for _, f := range v.Files.Files {
		paths = append(paths, f.Path)
	}
	return paths
}
