package db

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"weft.dev/weft/db/body"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/segment"
)

// Inspection says what a data directory holds and what that takes.
type Inspection struct {
	Instance  string
	StartedUS int64         // time of the first event indexed, microseconds since 1970; 0 before it
	Segments  []SegmentInfo // oldest first
	Log       LogInfo
	Bodies    BodiesInfo
	File      FileInfo
	Upstreams []UpstreamInfo

	Links       int64 // of active accounts
	Records     int64 // with links
	Uncounted   int64 // log rows behind the newest segment that Links and Records leave out; 0 unless the index is damaged
	Actors      int64
	Inactive    int64 // of them
	Collections int64
	Sources     int64

	Gaps     int64 // open
	Resyncs  int64 // open
	Jobs     int64 // changes of status under way, as of the newest segment
	MergeDue bool
}

// SegmentInfo is one segment.
type SegmentInfo struct {
	File           string
	Level          int // how many merges its oldest part went through
	FromSeq, ToSeq uint64
	Links          int64
	Bytes          int64
	Targets        int64  // bytes of the entries by target, about
	Records        int64  // by record
	Names          int64  // by name
	Fault          string // why it can't be read; empty
}

// LogInfo is the log.
type LogInfo struct {
	Oldest, Newest     uint64 // rows; 0: none
	OldestUS, NewestUS int64  // their times at the upstream
	Links              int64  // link rows
	Unsealed           int64  // rows that no segment has
}

// BodiesInfo is the bodies that are kept.
type BodiesInfo struct {
	Mode   Bodies // as at the last start
	Bodies int64  // log rows whose body is kept
	Blocks int64  // that hold them
	Bytes  int64  // of the blocks, compressed
	Raw    int64  // of the blocks, as records
}

// FileInfo is weft.db, in bytes.
type FileInfo struct{ Bytes, Free, WAL int64 }

// UpstreamInfo is where we are in an upstream.
type UpstreamInfo struct {
	Host   string
	Kind   string
	Seq    int64
	TimeUS int64 `db:"time_us"`
}

// Inspect looks at a data directory that no weft has open, and changes nothing in it.
func Inspect(ctx context.Context, dir string) (*Inspection, error) {
	s, err := OpenReadOnly(dir, true)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	in := &Inspection{}
	if err := s.inspectFile(ctx, in); err != nil {
		return nil, fmt.Errorf("db: inspect %s: %w", dir, err)
	}
	if err := s.inspectBodies(ctx, &in.Bodies); err != nil {
		return nil, fmt.Errorf("db: inspect the bodies of %s: %w", dir, err)
	}
	rows, err := index.ReadManifestRows(ctx, s.core.Reader)
	if err != nil {
		return nil, fmt.Errorf("db: inspect %s: %w", dir, err)
	}
	sealed := uint64(0)
	files := []*index.File{}
	for _, row := range rows {
		in.Segments = append(in.Segments, s.inspectSegment(row))
		files = append(files, &index.File{ManifestRow: row})
		sealed = row.ToSeq
		in.Links += row.Links
		in.Records = row.Linking
	}
	in.MergeDue = len(pickCompaction(files)) > 0
	if in.Log.Newest > sealed {
		in.Log.Unsealed = int64(in.Log.Newest - sealed)
	}
	in.Uncounted = in.Log.Unsealed
	err = s.Load(ctx, "inspect")
	if ctx.Err() != nil {
		return nil, fmt.Errorf("db: inspect %s: %w", dir, ctx.Err())
	}
	if err == nil { // Check says what is wrong with a damaged index: its segments can be counted all the same
		v := s.core.Snapshot()
		in.Links = v.Targets.Total()
		in.Records = v.Linking
		in.Uncounted = 0
	}
	return in, nil
}

// inspectFile reads what weft.db says.
func (s *ReadOnly) inspectFile(ctx context.Context, in *Inspection) error {
	for _, q := range []struct {
		into  any
		query string
	}{
		{&in.Instance, "SELECT value FROM meta WHERE key = 'instance'"},
		{&in.StartedUS, "SELECT ifnull(max(CAST(value AS INTEGER)), 0) FROM meta WHERE key = 'started_us'"},
		{&in.File.Bytes, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"},
		{&in.File.Free, "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size"},
		{&in.Log.Oldest, "SELECT ifnull(min(seq), 0) FROM records"},
		{&in.Log.Newest, "SELECT ifnull(max(seq), 0) FROM records"},
		{&in.Log.OldestUS, "SELECT ifnull((SELECT time_us FROM records ORDER BY seq LIMIT 1), 0)"},
		{&in.Log.NewestUS, "SELECT ifnull((SELECT time_us FROM records ORDER BY seq DESC LIMIT 1), 0)"},
		{&in.Log.Links, "SELECT count(*) FROM links"},
		// Ids have no holes.
		{&in.Actors, "SELECT ifnull(max(id), 0) FROM actors"},
		{&in.Inactive, "SELECT count(*) FROM actors WHERE status <> 0"},
		{&in.Collections, "SELECT ifnull(max(id), 0) FROM collections"},
		{&in.Sources, "SELECT ifnull(max(id), 0) FROM sources"},
		{&in.Gaps, "SELECT count(*) FROM gaps WHERE state = 'open'"},
		{&in.Resyncs, "SELECT count(*) FROM resyncs"},
		{&in.Jobs, "SELECT count(*) FROM sealed_jobs"},
	} {
		if err := s.core.Reader.GetContext(ctx, q.into, q.query); err != nil {
			return fmt.Errorf("%s: %w", q.query, err)
		}
	}
	if err := s.core.Reader.SelectContext(ctx, &in.Upstreams,
		"SELECT host, kind, seq, time_us FROM upstream ORDER BY time_us DESC"); err != nil {
		return err
	}
	if info, err := os.Stat(filepath.Join(s.cfg.Dir, "weft.db-wal")); err == nil {
		in.File.WAL = info.Size()
	}
	return nil
}

// inspectBodies adds the bodies up.
func (s *ReadOnly) inspectBodies(ctx context.Context, in *BodiesInfo) (err error) {
	in.Mode, _, err = bodiesKept(ctx, s.core.Reader)
	if err != nil {
		return err
	}
	if err := s.core.Reader.GetContext(ctx, &in.Bodies, "SELECT count(*) FROM bodies"); err != nil {
		return err
	}
	rows, err := s.core.Reader.QueryContext(ctx, "SELECT length(body), substr(body, 1, ?) FROM blocks", body.HeaderLen)
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

// inspectSegment reads what a segment is made of.
func (s *ReadOnly) inspectSegment(row index.ManifestRow) SegmentInfo {
	info := SegmentInfo{File: row.File, Level: row.Level, FromSeq: row.FromSeq, ToSeq: row.ToSeq, Links: row.Links,
		Bytes: row.Bytes}
	opened, err := segment.Open(filepath.Join(s.cfg.Dir, "segments", row.File), index.RunKinds, s.core.Blocks)
	if err != nil {
		info.Fault = err.Error()
		return info
	}
	defer func() { _ = opened.Close() }()
	space, err := opened.Space()
	if err != nil {
		info.Fault = err.Error()
		return info
	}
	info.Targets = space[index.RunTargets]
	info.Records = space[index.RunRecords]
	info.Names = space[index.RunNames]
	return info
}
