package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"weft.dev/weft/db/apply"
)

// peer is the other server of Constellation's API that is asked.
func (b *bench) peer() server {
	s := server{name: "peer", addr: b.Peer}
	if b.PeerProcess > 0 {
		s.processor = func(context.Context) (time.Duration, error) { return processorOf(b.PeerProcess) }
	}
	return s
}

// processorOf returns the processor time that a process has taken: utime and stime of /proc/PID/stat, in ticks of a
// hundredth of a second (proc(5); Linux has no other).
func processorOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name of the program, in parentheses, may have spaces. utime is the 14th field, the name the second.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// lineWriter writes events as Jetstream v1 sends them, one JSON object a line.
type lineWriter struct {
	file *os.File
	out  *bufio.Writer
}

func createLines(path string) (*lineWriter, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &lineWriter{f, bufio.NewWriterSize(f, 1<<20)}, nil
}

// write writes creates. A record has its links and no other content.
func (w *lineWriter) write(events []apply.Event) error {
	lines := json.NewEncoder(w.out)
	for i := range events {
		e := &events[i]
		record := map[string]any{"$type": e.Collection}
		for _, l := range e.Links {
			setPath(record, l.Path, l.Target)
		}
		err := lines.Encode(map[string]any{"did": e.DID, "time_us": e.TimeUS, "kind": "commit", "commit": map[string]any{
			"rev": e.Rev, "operation": "create", "collection": e.Collection, "rkey": e.Rkey, "record": record, "cid": someCID,
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// someCID is the CID of each record. No server checks it.
const someCID = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"

// setPath sets a field of a record by its path, whose names are separated by dots.
func setPath(record map[string]any, path, value string) {
	name, rest, nested := strings.Cut(path, ".")
	if !nested {
		record[name] = value
		return
	}
	field, ok := record[name].(map[string]any)
	if !ok {
		field = map[string]any{}
		record[name] = field
	}
	setPath(field, rest, value)
}

func (w *lineWriter) close() error { return errors.Join(w.out.Flush(), w.file.Close()) }
