package top

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"time"

	"weft.dev/weft/db"
)

// This file saves the counts, so that a restart resumes from them. Reading a day of the network's log again, fifty
// million rows and more, takes half an hour of half a core.

const (
	// fileFormat is the first line of a file. Another format has another number, and its file is ignored.
	fileFormat = "weft top 1\n"
	// saveEvery is the interval of saves, which is the longest log that a crash makes weft read again. The network's
	// counts are some megabytes.
	saveEvery = 15 * time.Minute
	// maxMissed is the longest log after the file that is read from its start. After a longer one, as of a stopped
	// follower, the newest rows are read first, as without a file.
	maxMissed = 6 * time.Hour
)

// counted is the content of a file: a Counter's counts without the sketches, which are larger than the rest.
type counted struct {
	Newest db.LogEntry // newest counted row, without its links
	Past   uint64
	Since  time.Time
	Until  time.Time
	Done   bool
	Hours  map[int64]countedHour
}

type countedHour struct {
	Others  uint32
	Sources map[db.Source]countedTargets
}

type countedTargets struct {
	Links, Least, Others uint32
	Counts               map[string]uint32
}

// save writes the counts to the file, if there is a file and a counted row.
func (c *Counter) save() error {
	f := c.counted()
	if c.cfg.File == "" || f.Newest.Seq == 0 {
		return nil
	}
	temporary := c.cfg.File + ".tmp"
	err := writeFile(temporary, f)
	if err == nil {
		// No fsync: the checksum of an incomplete file after a power failure doesn't match.
		err = os.Rename(temporary, c.cfg.File)
	}
	if err != nil {
		return fmt.Errorf("top: write the counts: %w", err)
	}
	return nil
}

// writeFile writes the format, the counts and their checksum.
func writeFile(file string, f counted) (err error) {
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w := bufio.NewWriter(out)
	sum := crc32.NewIEEE()
	_, err = w.WriteString(fileFormat)
	if err != nil {
		return err
	}
	err = gob.NewEncoder(io.MultiWriter(w, sum)).Encode(f)
	if err != nil {
		return err
	}
	_, err = w.Write(sum.Sum(nil))
	if err != nil {
		return err
	}
	return w.Flush()
}

// counted copies the counts.
func (c *Counter) counted() counted {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := counted{Newest: c.newest, Past: c.past, Since: c.since, Until: c.until, Done: c.done}
	f.Hours = map[int64]countedHour{}
	for at, h := range c.hours {
		sources := map[db.Source]countedTargets{}
		for source, t := range h.sources {
			sources[source] = countedTargets{t.links, t.least, t.others, maps.Clone(t.counts)}
		}
		f.Hours[at] = countedHour{h.others, sources}
	}
	return f
}

// load reads the counts from the file. loaded is false without a file that the log continues.
func (c *Counter) load(ctx context.Context) (loaded bool, err error) {
	f, ok := readFile(c.cfg.File)
	if !ok {
		return false, nil
	}
	// A restored older index has other rows after this one, or none.
	entries, _, err := c.cfg.Log.LogLinks(ctx, f.Newest.Seq-1, 1)
	if errors.Is(err, db.ErrLogPruned) || err == nil && (len(entries) != 1 || !same(entries[0], f.Newest)) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	missed, err := c.cfg.Log.LogAge(ctx, f.Newest.Seq)
	if err != nil || missed > maxMissed {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hours = map[int64]*hour{}
	for at, h := range f.Hours {
		c.hours[at] = h.hour()
	}
	c.newest = f.Newest
	c.last = f.Newest.Seq
	c.past = f.Past
	c.since = f.Since
	c.until = f.Until
	c.began = c.cfg.Now()
	c.done = f.Done
	c.running = true
	return true, nil
}

// hour returns the hour of saved counts. Its sketch is rebuilt when the next target is dropped.
func (f countedHour) hour() *hour {
	h := &hour{others: f.Others, sources: map[db.Source]*targets{}}
	for source, t := range f.Sources {
		if t.Counts == nil {
			t.Counts = map[string]uint32{}
		}
		h.sources[source] = &targets{links: t.Links, least: t.Least, others: t.Others, counts: t.Counts}
	}
	return h
}

// readFile reads a file of counts. ok is false without a complete file of this format.
func readFile(file string) (f counted, ok bool) {
	if file == "" {
		return f, false
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return f, false
	}
	rest, ok := bytes.CutPrefix(text, []byte(fileFormat))
	n := len(rest) - crc32.Size
	if !ok || n < 0 || binary.BigEndian.Uint32(rest[n:]) != crc32.ChecksumIEEE(rest[:n]) {
		return f, false
	}
	err = gob.NewDecoder(bytes.NewReader(rest[:n])).Decode(&f)
	return f, err == nil && f.Newest.Seq > 0
}

// same reports whether two rows are equal. It compares neither links nor accounts, which a Counter doesn't read.
func same(a, b db.LogEntry) bool {
	return a.Seq == b.Seq && a.TimeUS == b.TimeUS && a.Op == b.Op && a.Collection == b.Collection && a.Rkey == b.Rkey &&
		a.Rev == b.Rev
}
