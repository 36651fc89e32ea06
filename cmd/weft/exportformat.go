package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"weft.dev/weft/db/body"
	"weft.dev/weft/db/export"
)

// linkWriter writes the links of records, one row per link, in some format.
type linkWriter interface {
	write(r *export.Record) error
	close() error // ends the format; the underlying writer stays open
}

// exportFormat is a format of parts.
type exportFormat struct {
	suffix string
	open   func(w io.Writer, bodies bool) (linkWriter, error)
	stream bool // its rows, uncompressed, may go to standard output
}

// formats are the formats of parts, by name. The flag, its help and its completion come from here.
var formats = map[string]exportFormat{
	"ndjson":  {suffix: ".ndjson.zst", open: newNDJSONZstd, stream: true},
	"parquet": {suffix: ".parquet", open: newParquet},
}

// formatNames returns the names of the formats for which a predicate holds, sorted.
func formatNames(which func(f exportFormat) bool) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(formats)) {
		if which(formats[name]) {
			names = append(names, name)
		}
	}
	return names
}

func anyFormat(exportFormat) bool  { return true }
func needsOut(f exportFormat) bool { return !f.stream }

// ndjsonFlush is the size of a write in bytes: large enough for few system calls, small enough to lose little when a
// write fails.
const ndjsonFlush = 64 << 10

// recordJSON returns the content of a record as JSON. It returns nil if there is no content, or if the content is
// outside the data model.
func recordJSON(r *export.Record) []byte {
	if r.Body.CID == "" {
		return nil
	}
	text, err := body.JSON(r.Body.CBOR)
	if err != nil {
		return nil // the author wrote it: its digest matched
	}
	return text
}

// ndjsonWriter writes a line of JSON for each link. Each of its writes ends with a complete line.
type ndjsonWriter struct {
	w     io.Writer
	buf   []byte
	first string // record of the first line in buf
}

func (w *ndjsonWriter) write(r *export.Record) error {
	record := recordJSON(r)
	for i := range r.Links {
		if len(w.buf) == 0 {
			w.first = r.URI()
		}
		l := &r.Links[i]
		b := appendJSON(append(w.buf, `{"did":`...), r.DID)
		b = appendJSON(append(b, `,"collection":`...), r.Collection)
		b = appendJSON(append(b, `,"rkey":`...), r.Rkey)
		b = appendJSON(append(b, `,"path":`...), l.Path)
		b = appendJSON(append(b, `,"target":`...), l.Target)
		b = append(b, `,"time":"`...)
		b = time.UnixMicro(l.TimeUS).UTC().AppendFormat(b, timeMicros)
		b = append(append(append(b, `","status":"`...), r.Status.String()...), '"')
		if r.Body.CID != "" {
			b = append(append(append(b, `,"cid":"`...), r.Body.CID...), '"')
		}
		if record != nil {
			b = append(append(b, `,"record":`...), record...)
		}
		w.buf = append(b, "}\n"...)
		if len(w.buf) < ndjsonFlush {
			continue
		}
		if err := w.close(); err != nil {
			return err
		}
	}
	return nil
}

func (w *ndjsonWriter) close() error {
	b := w.buf
	w.buf = b[:0]
	if len(b) == 0 {
		return nil
	}
	_, err := w.w.Write(b)
	return err
}

// timeMicros is RFC 3339 with microseconds, the unit of ranks.
const timeMicros = "2006-01-02T15:04:05.000000Z07:00"

// appendJSON appends a string in JSON quotes. Plain ASCII, the common case, needs no escapes.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			var quoted bytes.Buffer
			e := json.NewEncoder(&quoted)
			e.SetEscapeHTML(false)
			_ = e.Encode(s) // a string and a buffer don't fail
			return append(b, bytes.TrimSuffix(quoted.Bytes(), []byte("\n"))...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// zstdWriter compresses the output of another linkWriter.
type zstdWriter struct {
	linkWriter
	z *zstd.Encoder
}

func newNDJSONZstd(w io.Writer, _ bool) (linkWriter, error) {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(2)) // one goroutine compresses while the other reads
	if err != nil {
		return nil, err
	}
	return &zstdWriter{&ndjsonWriter{w: z}, z}, nil
}

func (w *zstdWriter) close() error {
	err := w.linkWriter.close()
	if e := w.z.Close(); err == nil {
		err = e
	}
	return err
}

// parquetRow is a link as a row. Columns with repeated values have a dictionary; for targets alone it saves a third of
// a file. Record keys of a collection are sorted, so that delta encoding stores only the difference to the key before.
type parquetRow struct {
	DID        string `parquet:"did,dict"`
	Collection string `parquet:"collection,dict"`
	Rkey       string `parquet:"rkey,delta"`
	Path       string `parquet:"path,dict"`
	Target     string `parquet:"target,dict"`
	Time       int64  `parquet:"time,timestamp(microsecond),plain"`
	Status     string `parquet:"status,dict"`
}

// parquetBodyRow is a link with its record. A dictionary stores a record once for all its links and is compressed as a
// whole: the file is a fifth smaller than with pages of records. CIDs are random: a dictionary would save nothing.
type parquetBodyRow struct {
	parquetRow
	CID    string `parquet:"cid,optional,plain"`
	Record string `parquet:"record,optional,dict"`
}

const (
	// parquetGroup is the number of rows in a row group. A row group is in memory while it is written, and readers
	// process row groups in parallel.
	parquetGroup = 1 << 16
	// parquetGroupBytes also ends a row group: a target may have 8 KiB, and a record a megabyte.
	parquetGroupBytes = 32 << 20
	// parquetDictionary is the size in bytes from which a dictionary saves nothing.
	parquetDictionary = 8 << 20
	// parquetBatch is the number of rows in one write, which transposes them into columns. parquetBatchBytes limits a
	// write of rows with records.
	parquetBatch      = 1024
	parquetBatchBytes = 4 << 20
)

// parquetWriter writes a Parquet file.
type parquetWriter[R any] struct {
	w           *parquet.GenericWriter[R]
	row         func(link parquetRow, cid, record string) R
	rows        []R
	batch       int // bytes of text in rows
	group, size int // rows and bytes of text in the row group
}

func newParquet(w io.Writer, bodies bool) (linkWriter, error) {
	if bodies {
		return newParquetOf(w, func(link parquetRow, cid, record string) parquetBodyRow {
			return parquetBodyRow{link, cid, record}
		}), nil
	}
	return newParquetOf(w, func(link parquetRow, _, _ string) parquetRow { return link }), nil
}

func newParquetOf[R any](w io.Writer, row func(link parquetRow, cid, record string) R) *parquetWriter[R] {
	schema := parquet.NewSchema("link", parquet.SchemaOf(*new(R)))
	return &parquetWriter[R]{row: row, w: parquet.NewGenericWriter[R](w, schema, parquet.Compression(&parquet.Zstd),
		parquet.DictionaryMaxBytes(parquetDictionary), parquet.CreatedBy("weft", buildVersion(), ""))}
}

func (w *parquetWriter[R]) write(r *export.Record) error {
	record := string(recordJSON(r))
	for i := range r.Links {
		l := &r.Links[i]
		link := parquetRow{r.DID, r.Collection, r.Rkey, l.Path, l.Target, l.TimeUS, r.Status.String()}
		w.rows = append(w.rows, w.row(link, r.Body.CID, record))
		w.batch += len(l.Path) + len(l.Target) + len(r.Body.CID) + len(record)
		if len(w.rows) < parquetBatch && w.batch < parquetBatchBytes {
			continue
		}
		if err := w.flush(); err != nil {
			return err
		}
	}
	return nil
}

func (w *parquetWriter[R]) flush() error {
	_, err := w.w.Write(w.rows)
	w.group = w.group + len(w.rows)
	w.size = w.size + w.batch
	w.rows = w.rows[:0]
	w.batch = 0
	if err == nil && (w.group >= parquetGroup || w.size >= parquetGroupBytes) {
		w.group = 0
		w.size = 0
		err = w.w.Flush()
	}
	if err != nil {
		return fmt.Errorf("write parquet: %w", err)
	}
	return nil
}

func (w *parquetWriter[R]) close() error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.w.Close(); err != nil {
		return fmt.Errorf("finish parquet: %w", err)
	}
	return nil
}
