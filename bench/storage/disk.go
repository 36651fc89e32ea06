package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// disk is the distribution of the bytes of a data directory. It reads the files with plain SQLite, beside the store.
type disk struct {
	Segments int              `json:"segments"`
	Bytes    int64            `json:"segment_bytes"`
	Parts    map[string]int64 `json:"parts"` // content of segments by kind; the rest of Bytes is SQLite's pages
	Entries  map[string]int64 `json:"entries"`
	Levels   map[string]int   `json:"levels"`
	Main     int64            `json:"main_bytes"` // weft.db
	Free     int64            `json:"main_free"`  // free pages
	Tables   map[string]int64 `json:"tables"`     // of weft.db
	LogRows  int64            `json:"log_rows"`
	Bodies   struct {
		Rows   int64 `json:"rows"`
		Blocks int64 `json:"blocks"`
		Bytes  int64 `json:"bytes"` // of the blocks' zstd frames
	} `json:"bodies"`
}

// runNames are the runs of a segment, by their ids in db.
var runNames = map[int]string{1: "target", 2: "record", 3: "names"}

func diskOf(dir string) (d disk, err error) {
	d.Parts = map[string]int64{}
	d.Entries = map[string]int64{}
	d.Levels = map[string]int{}
	d.Tables = map[string]int64{}
	m, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db")+"?mode=ro")
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	info, err := os.Stat(filepath.Join(dir, "weft.db"))
	if err != nil {
		return d, err
	}
	d.Main = info.Size()
	err = m.QueryRow("SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size").Scan(&d.Free)
	if err != nil {
		return d, err
	}
	if err := m.QueryRow("SELECT ifnull(sum(last - first + 1), 0) FROM log").Scan(&d.LogRows); err != nil {
		return d, err
	}
	if err := m.QueryRow("SELECT (SELECT count(*) FROM bodies), count(*), ifnull(sum(length(body)), 0) FROM blocks").Scan(
		&d.Bodies.Rows, &d.Bodies.Blocks, &d.Bodies.Bytes); err != nil {
		return d, err
	}
	if err := each(m, "SELECT name, sum(pgsize) FROM dbstat GROUP BY name",
		func(name string, n int64) { d.Tables[name] = n }); err != nil {
		return d, err
	}
	var files []string
	if err := each(m, "SELECT file, level FROM segments", func(file string, level int64) {
		files = append(files, file)
		d.Levels[fmt.Sprint(level)]++
	}); err != nil {
		return d, err
	}
	for _, f := range files {
		if err := d.segment(filepath.Join(dir, "segments", f)); err != nil {
			return d, fmt.Errorf("%s: %w", f, err)
		}
	}
	return d, nil
}

// segment adds the sizes of a segment's content.
func (d *disk) segment(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	d.Segments++
	d.Bytes += info.Size()
	s, err := sql.Open("sqlite", "file:"+path+"?mode=ro&immutable=1")
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	var text string
	if err := s.QueryRow("SELECT data FROM head").Scan(&text); err != nil {
		return err
	}
	var head struct {
		Runs []struct {
			ID      int
			Entries int64
			First   int64
			Blocks  int64
			Filter  struct{ First, Pages int64 }
		}
	}
	if err := json.Unmarshal([]byte(text), &head); err != nil {
		return err
	}
	add := func(part, query string, args ...any) error {
		var n int64
		err := s.QueryRow(query, args...).Scan(&n)
		d.Parts[part] += n
		return err
	}
	for _, r := range head.Runs {
		name := runNames[r.ID]
		d.Entries[name] += r.Entries
		if err := add(name, "SELECT ifnull(sum(length(data)), 0) FROM blocks WHERE id BETWEEN ? AND ?", r.First,
			r.First+r.Blocks-1); err != nil {
			return err
		}
		if err := add(name+" filter", "SELECT ifnull(sum(length(data)), 0) FROM filters WHERE id BETWEEN ? AND ?",
			r.Filter.First, r.Filter.First+r.Filter.Pages-1); err != nil {
			return err
		}
	}
	if err := add("index blocks", "SELECT ifnull(sum(length(data)), 0) FROM nodes"); err != nil {
		return err
	}
	return add("sets", "SELECT ifnull(sum(length(data)), 0) FROM sets")
}

func each(s *sql.DB, query string, do func(name string, n int64)) error {
	rows, err := s.Query(query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		var n int64
		if err := rows.Scan(&name, &n); err != nil {
			return err
		}
		do(name, n)
	}
	return rows.Err()
}

// unsealedRows returns the number of log rows outside segments.
func unsealedRows(dir string) (n int64, err error) {
	m, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db")+"?mode=ro")
	if err != nil {
		return 0, err
	}
	err = m.QueryRow(`SELECT ifnull((SELECT max(last) FROM log), 0) -
		(SELECT ifnull(max(to_seq), 0) FROM segments)`).Scan(&n)
	return n, errors.Join(err, m.Close())
}
