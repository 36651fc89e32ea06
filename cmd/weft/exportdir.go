package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"slices"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/export"
)

// exportFile is the list of an export's parts, beside them. Readers of a directory of Parquet files ignore names that
// begin with an underscore.
const exportFile = "_export.json"

// exportVersion is the version of that file and of the columns.
const exportVersion = 1

// exportList is the content of the file.
type exportList struct {
	Version     int          `json:"version"`
	Format      string       `json:"format"`
	Instance    string       `json:"instance"`
	LogSeq      uint64       `json:"log_seq"`
	LogTime     string       `json:"log_time"` // time of that row; empty: it was pruned
	From        string       `json:"from"`
	To          string       `json:"to"`
	Collections []string     `json:"collections"`
	Inactive    bool         `json:"inactive"`
	BodiesFrom  uint64       `json:"bodies_from"` // oldest log row with a body; 0: without bodies
	Links       int64        `json:"links"`       // links in all parts
	Records     int64        `json:"records"`
	Complete    bool         `json:"complete"`
	Parts       []exportPart `json:"parts"`
}

// exportPart is a complete file.
type exportPart struct {
	File    string `json:"file"`
	First   string `json:"first"` // record
	Last    string `json:"last"`
	Links   int64  `json:"links"`
	Records int64  `json:"records"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`
}

// exportDir is the output directory of an export.
type exportDir struct {
	dir       string
	partLinks int64
	list      exportList
	// step is called with the name of each step that a fault can interrupt, before the step. Its error is the fault.
	// Nil except in tests.
	step func(name string) error
}

// open makes the directory, or resumes an interrupted export of the same options in it.
func (d *exportDir) open() error {
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(d.dir, exportFile))
	if errors.Is(err, os.ErrNotExist) {
		entries, err := os.ReadDir(d.dir)
		if err != nil {
			return err
		}
		if len(entries) > 1 || len(entries) == 1 && entries[0].Name() != exportFile+".tmp" { // of an interrupted start
			return fmt.Errorf("%s is not empty and has no %s: use a new or empty directory for --out", d.dir, exportFile)
		}
		return d.save(d.list)
	}
	if err != nil {
		return err
	}
	var was exportList
	if err := json.Unmarshal(data, &was); err != nil {
		return fmt.Errorf("%s: %w; %s", filepath.Join(d.dir, exportFile), err, beginAnew)
	}
	if err := d.fits(&was); err != nil {
		return fmt.Errorf("%s has a different export, %w; %s", d.dir, err, beginAnew)
	}
	for _, p := range was.Parts {
		info, err := os.Stat(filepath.Join(d.dir, p.File))
		if err != nil {
			return fmt.Errorf("a part of the export is missing: %w; %s", err, beginAnew)
		}
		if info.Size() != p.Bytes {
			return fmt.Errorf("%s has %d bytes, and %s says %d; %s", filepath.Join(d.dir, p.File), info.Size(), exportFile,
				p.Bytes, beginAnew)
		}
	}
	d.list = was
	return nil
}

const beginAnew = "to start over, use a new directory for --out, or empty this one"

// fits returns an error that names the difference to the export in the directory; nil: none.
func (d *exportDir) fits(was *exportList) error {
	is := &d.list
	switch {
	case was.Version != is.Version:
		return fmt.Errorf("in format version %d: this weft writes version %d", was.Version, is.Version)
	case was.Instance != is.Instance:
		return fmt.Errorf("of index %s: this is index %s", was.Instance, is.Instance)
	case was.LogSeq != is.LogSeq || was.LogTime != is.LogTime:
		return fmt.Errorf("as of log row %d %s: the index is now at row %d %s, and parts of both cannot be combined",
			was.LogSeq, was.LogTime, is.LogSeq, is.LogTime)
	case was.Format != is.Format:
		return fmt.Errorf("with --format %s", was.Format)
	case was.From != is.From || was.To != is.To:
		return fmt.Errorf("with --from %q --to %q", was.From, was.To)
	case !slices.Equal(was.Collections, is.Collections):
		return fmt.Errorf("with --collection %q", was.Collections)
	case was.Inactive != is.Inactive:
		return fmt.Errorf("with --inactive=%t", was.Inactive)
	case (was.BodiesFrom > 0) != (is.BodiesFrom > 0):
		return fmt.Errorf("with --bodies=%t", was.BodiesFrom > 0)
	case was.BodiesFrom != is.BodiesFrom:
		return fmt.Errorf("with the bodies of log rows from %d on: the index now has those from %d on, and parts of both "+
			"cannot be combined",
			was.BodiesFrom, is.BodiesFrom)
	}
	return nil
}

// write writes the missing parts.
func (d *exportDir) write(ctx context.Context, e *export.Export, progress func(links int64) error) error {
	var p *part
	for r, err := range e.Records(ctx, d.last()) {
		if err == nil && p != nil && p.Links+int64(len(r.Links)) > d.partLinks {
			err = d.end(p)
			if err == nil {
				p = nil
			}
		}
		if err == nil && p == nil {
			p, err = d.begin()
		}
		if err == nil {
			err = p.add(r)
		}
		if err == nil {
			err = progress(d.list.Links + p.Links)
		}
		if err != nil {
			p.abandon()
			return err
		}
	}
	if p != nil {
		if err := d.end(p); err != nil {
			p.abandon()
			return err
		}
	}
	next := d.list
	next.Complete = true
	return d.save(next)
}

// last returns the last exported record; empty: none.
func (d *exportDir) last() string {
	if len(d.list.Parts) == 0 {
		return ""
	}
	return d.list.Parts[len(d.list.Parts)-1].Last
}

// part is an unfinished part, under a temporary name.
type part struct {
	exportPart
	path string
	file *os.File
	hash hash.Hash
	rows linkWriter
	last db.Record
	step func(name string) error
}

func (d *exportDir) begin() (*part, error) {
	f := formats[d.list.Format]
	name := fmt.Sprintf("links-%05d%s", len(d.list.Parts)+1, f.suffix)
	p := &part{exportPart: exportPart{File: name}, path: filepath.Join(d.dir, name), hash: sha256.New(), step: d.at}
	err := d.at("create")
	if err == nil {
		p.file, err = os.Create(p.path + ".tmp")
	}
	if err == nil {
		p.rows, err = f.open(p, d.list.BodiesFrom > 0)
	}
	return p, err
}

// Write writes to the file.
func (p *part) Write(b []byte) (int, error) {
	if err := p.step("write"); err != nil {
		return 0, err
	}
	n, err := p.file.Write(b)
	p.Bytes += int64(n)
	_, _ = p.hash.Write(b[:n]) // never fails
	return n, err
}

func (p *part) add(r *export.Record) error {
	if p.Links == 0 {
		p.First = r.URI()
	}
	p.last = r.Record
	p.Links += int64(len(r.Links))
	p.Records++
	return p.rows.write(r)
}

// abandon closes and removes the temporary file.
func (p *part) abandon() {
	if p != nil && p.file != nil {
		_ = p.file.Close()
		_ = os.Remove(p.path + ".tmp")
	}
}

// end syncs a part, gives it its name and then adds it to the list.
func (d *exportDir) end(p *part) error {
	if err := p.rows.close(); err != nil {
		return err
	}
	if err := d.place(p.file, p.path); err != nil {
		return err
	}
	p.Last = (&export.Record{Record: p.last}).URI()
	p.SHA256 = hex.EncodeToString(p.hash.Sum(nil))
	next := d.list
	next.Parts = append(slices.Clone(next.Parts), p.exportPart)
	next.Links += p.Links
	next.Records += p.Records
	return d.save(next)
}

// save replaces the list.
func (d *exportDir) save(list exportList) error {
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(d.dir, exportFile)
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return err
	}
	if err := d.at("list"); err != nil {
		_ = f.Close()
		return err
	}
	if _, err := f.Write(append(data, '\n')); err != nil {
		_ = f.Close()
		return err
	}
	if err := d.place(f, path); err != nil {
		return err
	}
	d.list = list
	return nil
}

// place syncs a written file and renames it, so that the file under path is complete.
func (d *exportDir) place(f *os.File, path string) error {
	err := d.at("sync")
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = d.at("rename")
	}
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (d *exportDir) at(name string) error {
	if d.step == nil {
		return nil
	}
	return d.step(name)
}

// logTime formats the time of a log row; 0 gives "".
func logTime(us int64) string {
	if us == 0 {
		return ""
	}
	return time.UnixMicro(us).UTC().Format(timeMicros)
}
