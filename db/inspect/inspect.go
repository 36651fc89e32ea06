// Package inspect reads the figures of a data directory for weft stats. It is above db, because it replays the log as a
// start does.
package inspect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"weft.dev/weft/db"
	"weft.dev/weft/db/body"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/segment"
)

// Report says what a data directory holds and what that takes.
type Report struct {
	Instance  string
	StartedUS int64     // time of the first event indexed, microseconds since 1970; 0 before it
	Segments  []Segment // oldest first
	Log       Log
	Bodies    Bodies
	File      File
	Upstreams []db.UpstreamInfo

	Links       int64 // of active accounts
	Records     int64 // with links
	Uncounted   int64 // log rows behind the newest segment that Links and Records leave out; 0 unless the index is damaged
	Actors      int64
	Inactive    int64 // of them
	Collections int64
	Sources     int64

	Gaps          int64 // open
	Resyncs       int64 // open
	Jobs          int64 // changes of status under way, as of the newest segment
	CompactionDue bool
}

// Segment is one segment.
type Segment struct {
	File           string
	Level          int // how many compactions its oldest part went through
	FromSeq, ToSeq uint64
	Links          int64
	Bytes          int64
	Targets        int64  // bytes of the entries by target, about
	Records        int64  // by record
	Names          int64  // by name
	Fault          string // why it can't be read; empty
}

// Log is the log.
type Log struct {
	Oldest, Newest     uint64 // rows; 0: none
	OldestUS, NewestUS int64  // their times at the upstream
	Links              int64  // of the rows
	Unsealed           int64  // rows that no segment has
}

// Bodies is the bodies that are kept.
type Bodies struct {
	Mode   db.Bodies // as at the last start
	Bodies int64     // log rows whose body is kept
	Blocks int64     // that hold them
	Bytes  int64     // of the blocks, compressed
	Raw    int64     // of the blocks, as records
}

// File is weft.db, in bytes.
type File struct{ Bytes, Free, WAL int64 }

// inspector reads a data directory.
type inspector struct {
	*db.ReadOnly
	dir string
}

// Run reads a data directory, also beside the weft that writes it, and changes nothing in it. All figures are of one
// moment.
func Run(ctx context.Context, dir string) (*Report, error) {
	r, err := db.OpenReadOnly(dir, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	in, err := inspector{r, dir}.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("db: inspect %s: %w", dir, err)
	}
	return in, nil
}

func (r inspector) run(ctx context.Context) (*Report, error) {
	in := &Report{}
	loaded := r.Load(ctx, "inspect") // weft check says what is wrong where it fails: the rest can be counted all the same
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := r.file(ctx, in); err != nil {
		return nil, err
	}
	if err := r.bodies(ctx, &in.Bodies); err != nil {
		return nil, fmt.Errorf("the bodies: %w", err)
	}
	rows, err := index.ReadManifestRows(ctx, r.Reader())
	if err != nil {
		return nil, err
	}
	sealed := uint64(0)
	for _, row := range rows {
		in.Segments = append(in.Segments, r.segment(row))
		sealed = row.ToSeq
		in.Links += row.Links
		in.Records = row.Linking
	}
	in.CompactionDue = db.CompactionDue(rows)
	if in.Log.Newest > sealed {
		in.Log.Unsealed = int64(in.Log.Newest - sealed)
	}
	in.Uncounted = in.Log.Unsealed
	if loaded == nil {
		v := r.Core().Snapshot()
		in.Links = v.Targets.Total()
		in.Records = v.Linking
		in.Uncounted = 0
	}
	return in, nil
}

// file reads what weft.db says.
func (r inspector) file(ctx context.Context, in *Report) error {
	for _, q := range []struct {
		into  any
		query string
	}{
		{&in.Instance, "SELECT value FROM meta WHERE key = 'instance'"},
		{&in.StartedUS, "SELECT ifnull(max(CAST(value AS INTEGER)), 0) FROM meta WHERE key = 'started_us'"},
		{&in.File.Bytes, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"},
		{&in.File.Free, "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size"},
		{&in.Log.NewestUS, "SELECT ifnull((SELECT time_us FROM log ORDER BY last DESC LIMIT 1), 0)"},
		{&in.Log.Links, "SELECT ifnull(sum(links), 0) FROM log"},
		// Ids have no holes.
		{&in.Actors, "SELECT ifnull(max(id), 0) FROM actors"},
		{&in.Inactive, "SELECT count(*) FROM actors WHERE status <> 0"},
		{&in.Collections, "SELECT ifnull(max(id), 0) FROM collections"},
		{&in.Sources, "SELECT ifnull(max(id), 0) FROM sources"},
		{&in.Gaps, "SELECT count(*) FROM gaps WHERE state = 'open'"},
		{&in.Resyncs, "SELECT count(*) FROM resyncs"},
		{&in.Jobs, "SELECT count(*) FROM sealed_jobs"},
	} {
		if err := r.Reader().GetContext(ctx, q.into, q.query); err != nil {
			return fmt.Errorf("%s: %w", q.query, err)
		}
	}
	var err error
	in.Log.Oldest, in.Log.Newest, err = logrow.Range(ctx, r.Reader())
	if err != nil {
		return err
	}
	if in.Log.Oldest > 0 {
		oldest, _, err := logrow.At(ctx, r.Reader(), in.Log.Oldest)
		if err != nil && !errors.Is(err, logrow.ErrDamaged) { // which a check reports
			return err
		}
		in.Log.OldestUS = oldest.TimeUS
	}
	if err := r.Reader().SelectContext(ctx, &in.Upstreams,
		"SELECT host, kind, seq, time_us FROM upstream ORDER BY time_us DESC"); err != nil {
		return err
	}
	if info, err := os.Stat(filepath.Join(r.dir, "weft.db-wal")); err == nil {
		in.File.WAL = info.Size()
	}
	return nil
}

// bodies adds the bodies up.
func (r inspector) bodies(ctx context.Context, in *Bodies) (err error) {
	in.Mode, _, err = r.StoredBodies(ctx)
	if err != nil {
		return err
	}
	if err := r.Reader().GetContext(ctx, &in.Bodies, "SELECT count(*) FROM bodies"); err != nil {
		return err
	}
	rows, err := r.Reader().QueryContext(ctx, "SELECT length(body), substr(body, 1, ?) FROM blocks", body.HeaderLen)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		var head []byte
		if err := rows.Scan(&n, &head); err != nil {
			return err
		}
		in.Blocks++
		in.Bytes += n
		in.Raw += body.Len(head)
	}
	return rows.Err()
}

// segment reads the sizes of a segment's parts: of the file that Load holds open, or else of the one in the directory.
func (r inspector) segment(row index.ManifestRow) Segment {
	info := Segment{File: row.File, Level: row.Level, FromSeq: row.FromSeq, ToSeq: row.ToSeq, Links: row.Links,
		Bytes: row.Bytes}
	space, err := r.space(row)
	if err != nil {
		info.Fault = err.Error()
		return info
	}
	info.Targets = space[index.RunTargets]
	info.Records = space[index.RunRecords]
	info.Names = space[index.RunNames]
	return info
}

func (r inspector) space(row index.ManifestRow) (map[int]int64, error) {
	if v := r.Core().Snapshot(); v != nil {
		for _, f := range v.Files.Files {
			if f.File == row.File {
				return f.Space()
			}
		}
	}
	opened, err := segment.Open(filepath.Join(r.dir, "segments", row.File), index.RunKinds, r.Core().Blocks)
	if err != nil {
		return nil, err
	}
	defer func() { _ = opened.Close() }()
	return opened.Space()
}
