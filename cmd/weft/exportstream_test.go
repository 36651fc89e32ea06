package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// cutWriter fails after some bytes.
type cutWriter struct {
	bytes.Buffer
	left int
}

func (w *cutWriter) Write(b []byte) (int, error) {
	if len(b) > w.left {
		n, _ := w.Buffer.Write(b[:w.left])
		w.left = 0
		return n, errFault
	}
	w.left -= len(b)
	return w.Buffer.Write(b)
}

// stopWriter cancels the export after some writes.
type stopWriter struct {
	bytes.Buffer
	after int
	stop  func()
}

func (w *stopWriter) Write(b []byte) (int, error) {
	if w.after--; w.after == 0 {
		w.stop()
	}
	return w.Buffer.Write(b)
}

var fromOf = regexp.MustCompile(`--from (at://\S+)$`)

// TestExportStream: an interrupted stream names the record to resume from, and the two outputs have each link once.
func TestExportStream(t *testing.T) {
	t.Parallel()
	data := longIndex(t)
	whole := exportAll(t, data)
	uri := func(r row) string { return "at://" + r.DID + "/" + r.Collection + "/" + r.Rkey }
	goOn := func(err error, got []row) []row {
		t.Helper()
		if err == nil {
			return got
		}
		from := fromOf.FindStringSubmatch(err.Error())
		if from == nil {
			t.Fatalf("no --from in: %v", err)
		}
		if at := slices.IndexFunc(got, func(r row) bool { return uri(r) == from[1] }); at >= 0 {
			got = got[:at] // the rest may be truncated
		}
		return append(got, exportAll(t, data, "--from", from[1])...)
	}
	x := exportRun{data: data, format: "ndjson"}
	for _, left := range []int{0, 100, 1 << 16, 1<<16 + 12_345, 1 << 20} {
		w := &cutWriter{left: left}
		err := x.run(t.Context(), w, io.Discard)
		text := w.Bytes()[:bytes.LastIndexByte(w.Bytes(), '\n')+1]
		if !errors.Is(err, errFault) {
			t.Fatalf("%v", err)
		}
		if got := goOn(err, rowsOfJSON(t, bytes.NewReader(text))); !slices.Equal(got, whole) {
			t.Errorf("a fault after %d bytes: %d rows, not %d", left, len(got), len(whole))
		}
	}
	for _, after := range []int{1, 20, 40} {
		ctx, stop := context.WithCancel(t.Context())
		w := &stopWriter{after: after, stop: stop}
		err := x.run(ctx, w, io.Discard)
		got := rowsOfJSON(t, &w.Buffer)
		if err == nil || !strings.HasPrefix(err.Error(), "interrupted after ") || len(got) == 0 || len(got) == len(whole) {
			t.Errorf("interrupted after %d writes: %v, %d rows", after, err, len(got))
		}
		if got = goOn(err, got); !slices.Equal(got, whole) {
			t.Errorf("interrupted after %d writes: %d rows, not %d", after, len(got), len(whole))
		}
		stop()
	}
}

// TestExportInterrupted: an interrupted export to files reports the complete part, and the next run resumes.
func TestExportInterrupted(t *testing.T) {
	t.Parallel()
	data, out := longIndex(t), filepath.Join(t.TempDir(), "out")
	ctx, stop := context.WithCancel(t.Context())
	parts := 0
	x := exportRun{data: data, format: "parquet", out: out, partLinks: 1500, step: func(name string) error {
		if name == "create" {
			if parts++; parts == 4 {
				stop()
			}
		}
		return nil
	}}
	err := x.run(ctx, io.Discard, io.Discard)
	interrupted := regexp.MustCompile(
		`^interrupted; \S+ has [0-9,]+ links of \d+ records in \d+ parts; run the same command to resume$`)
	if err == nil || !interrupted.MatchString(err.Error()) {
		t.Fatalf("interrupted: %v", err)
	}
	_, was := rowsOfDir(t, out)
	var stdout bytes.Buffer
	x.step = nil
	if err := x.run(t.Context(), &stdout, io.Discard); err != nil ||
		!strings.Contains(stdout.String(), "parts existed before") {
		t.Fatalf("%v, %s", err, stdout.String())
	}
	rows, list := rowsOfDir(t, out)
	if !slices.Equal(rows, exportAll(t, data)) || len(list.Parts) != 30 ||
		!slices.Equal(list.Parts[:len(was.Parts)], was.Parts) {
		t.Errorf("%d rows in %d parts, of which %d were there", len(rows), len(list.Parts), len(was.Parts))
	}
}
