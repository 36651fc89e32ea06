package upstream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/bluesky-social/jetstream/segment"
	"github.com/klauspost/compress/zstd"
)

// sealed is a segment of the official writer.
type sealed struct {
	file   []byte
	header segment.Header
	index  []byte
	blocks []*Block
}

// seal writes rows into a segment, perBlock rows to a block.
func seal(tb testing.TB, perBlock int, rows []segment.Event) sealed {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "seg.jss")
	w, err := segment.New(segment.Config{Path: path})
	if err != nil {
		tb.Fatal(err)
	}
	for i, r := range rows {
		if _, err := w.Append(r); err != nil {
			tb.Fatal(err)
		}
		if (i+1)%perBlock == 0 {
			if err := w.Flush(); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if _, err := w.Seal(); err != nil {
		tb.Fatal(err)
	}
	var s sealed
	if s.file, err = os.ReadFile(path); err != nil {
		tb.Fatal(err)
	}
	if s.header, err = segment.ReadSealedHeader(bytes.NewReader(s.file)); err != nil {
		tb.Fatal(err)
	}
	s.index = s.file[s.header.BlockIndexOffset:][:s.header.BlockCount*blockIndexEntry]
	if s.blocks, err = parseIndex("seg", s.index, s.header.FooterOffset); err != nil {
		tb.Fatal(err)
	}
	for _, b := range s.blocks {
		b.frame = s.file[b.offset:][:b.size]
	}
	return s
}

// someRows returns n rows of a few accounts, with records of about payload bytes.
func someRows(n, payload int) []segment.Event {
	rows := make([]segment.Event, n)
	for i := range rows {
		rows[i] = segment.Event{Seq: uint64(10 + i), WitnessedAt: int64(1_770_000_000_000_000 + i),
			Kind: segment.KindCreate + segment.Kind(i%3),
			DID:  fmt.Sprintf("did:plc:%024d", i%7), Collection: "app.example.thing", Rkey: fmt.Sprint(i), Rev: "3mdtsyunhbu22",
			Payload: bytes.Repeat([]byte{byte(i)}, payload+i%5)}
		if i%2 == 0 {
			rows[i].IndexedAt = rows[i].WitnessedAt + 1
		}
	}
	return rows
}

// read collects the rows of a block.
func (b *Block) read() (rows []segment.Event, err error) {
	err = b.Rows(func(r *segment.Event) error {
		row := *r
		row.Payload = bytes.Clone(r.Payload)
		rows = append(rows, row)
		return nil
	})
	return rows, err
}

// TestBlocks: blocks give the same rows as the official decoder, also blocks that are too large for one buffer.
func TestBlocks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name           string
		rows, perBlock int
		payload        int // bytes, about
	}{
		{"small", 30, 10, 20},
		{"without records", 5, 5, 0},
		{"larger than what is held at once", 50, 50, wholeBlock / 40},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := seal(t, tc.perBlock, someRows(tc.rows, tc.payload))
			if len(s.blocks) != tc.rows/tc.perBlock {
				t.Fatalf("%d blocks", len(s.blocks))
			}
			for _, b := range s.blocks {
				got, err := b.read()
				if err != nil {
					t.Fatal(err)
				}
				want, err := segment.DecodeBlockFrame(b.frame)
				if err != nil {
					t.Fatal(err)
				}
				sameRows(t, got, want)
			}
		})
	}
}

func sameRows(t *testing.T, got, want []segment.Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	for i := range got {
		if len(got[i].Payload)+len(want[i].Payload) == 0 {
			got[i].Payload, want[i].Payload = nil, nil
		}
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("row %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

// compressed returns a frame as of the official writer.
func compressed(tb testing.TB, content []byte) []byte {
	tb.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return w.EncodeAll(content, nil)
}

// TestBlockRefused: a malformed block, or another than the index describes, gives no row and takes little memory.
func TestBlockRefused(t *testing.T) { // not parallel: it measures memory
	s := seal(t, 10, someRows(10, 20))
	b := *s.blocks[0]
	raw, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := raw.DecodeAll(b.frame, nil)
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int, with ...byte) []byte {
		c := bytes.Clone(body)
		copy(c[at:], with)
		return compressed(t, c)
	}
	zeros := compressed(t, make([]byte, 300<<20))
	for _, tc := range []struct {
		name  string
		frame []byte
		do    func(*Block)
	}{
		{"nothing", nil, nil},
		{"truncated", b.frame[:len(b.frame)-1], nil},
		{"a bomb of zeros", zeros, nil},
		{"many bombs, one behind the other", bytes.Repeat(zeros, 5), nil},
		{"a row more than there are", change(0, 11), nil},
		{"millions of rows", change(0, 0, 0, 0, 1), nil},
		{"a kind that is none", change(4+24*10, 99), nil},
		{"a record longer than the block", change(4+30*10, 0xff, 0xff, 0xff, 0xff), nil},
		{"a byte behind the last record", compressed(t, append(bytes.Clone(body), 0)), nil},
		{"fewer events than the index says", b.frame, func(b *Block) { b.Events++ }},
		{"an event before those of the index", b.frame, func(b *Block) { b.Min++ }},
		{"an event behind those of the index", b.frame, func(b *Block) { b.Max-- }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b
			b.frame = tc.frame
			if tc.do != nil {
				tc.do(&b)
			}
			var err error
			rows := 0
			took := allocated(func() {
				err = b.Rows(func(*segment.Event) error {
					rows++
					return nil
				})
			})
			if err == nil || rows > 0 {
				t.Errorf("%d rows, %v", rows, err)
			}
			if took > 3*wholeBlock {
				t.Errorf("took %d bytes", took)
			}
		})
	}
}

// allocated returns the bytes that are allocated while do runs, also by other goroutines.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestLongRecord: a record larger than repositories allow is skipped, and the other rows are read.
func TestLongRecord(t *testing.T) {
	t.Parallel()
	rows := someRows(3, 10)
	rows[1].Payload = make([]byte, maxPayload+1)
	got, err := seal(t, 3, rows).blocks[0].read()
	if err != nil || len(got) != 3 || len(got[1].Payload) != 0 || !bytes.Equal(got[2].Payload, rows[2].Payload) {
		t.Errorf("%d rows, %v", len(got), err)
	}
}

// TestIndexRefused: an index whose blocks aren't in order is refused.
func TestIndexRefused(t *testing.T) {
	t.Parallel()
	s := seal(t, 10, someRows(50, 20))
	le := binary.LittleEndian
	for _, tc := range []struct {
		name string
		do   func(entry func(i int) []byte)
	}{
		{"two in each other's place", func(entry func(int) []byte) {
			first := le.Uint64(entry(0))
			le.PutUint64(entry(0), le.Uint64(entry(1)))
			le.PutUint64(entry(1), first)
		}},
		{"the last before the first", func(entry func(int) []byte) { le.PutUint64(entry(4), 300) }},
		{"one in the header", func(entry func(int) []byte) { le.PutUint64(entry(0), 0) }},
		{"one beyond the footer", func(entry func(int) []byte) { le.PutUint64(entry(4), s.header.FooterOffset-9) }},
		{"an offset that overflows", func(entry func(int) []byte) { le.PutUint64(entry(4), 1<<64-8) }},
		{"a size of gigabytes", func(entry func(int) []byte) { le.PutUint32(entry(0)[8:], 3900<<20) }},
		{"one over the next", func(entry func(int) []byte) { le.PutUint32(entry(1)[8:], le.Uint32(entry(1)[8:])+9) }},
		{"events out of order", func(entry func(int) []byte) { le.PutUint64(entry(2)[20:], 1) }},
		{"events backwards", func(entry func(int) []byte) { le.PutUint64(entry(2)[28:], 1) }},
		{"more events than a block takes", func(entry func(int) []byte) { le.PutUint32(entry(2)[16:], maxRows+1) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			index := bytes.Clone(s.index)
			tc.do(func(i int) []byte { return index[i*blockIndexEntry:] })
			if _, err := parseIndex("seg", index, s.header.FooterOffset); err == nil {
				t.Error("no error")
			}
		})
	}
	for bit := range len(s.index) * 8 { // whatever it gives, spans of it can be fetched and cut
		index := bytes.Clone(s.index)
		index[bit/8] ^= 1 << (bit % 8)
		if blocks, err := parseIndex("seg", index, s.header.FooterOffset); err == nil {
			cutSpans(t, blocks, s.file)
		}
	}
}

// cutSpans fetches blocks from a file in spans, as Read does.
func cutSpans(t *testing.T, blocks []*Block, file []byte) {
	t.Helper()
	for len(blocks) > 0 {
		sp := spanOf(nil, blocks)
		blocks = blocks[len(sp.blocks):]
		first, last := sp.blocks[0], sp.blocks[len(sp.blocks)-1]
		if end := last.offset + uint64(last.size); end <= uint64(len(file)) {
			data := file[first.offset:end]
			for _, b := range sp.blocks {
				_ = data[b.offset-first.offset:][:b.size]
			}
		}
	}
}

// TestSpans: the size of a request is bounded, also if blocks are far apart.
func TestSpans(t *testing.T) {
	t.Parallel()
	blocks := []*Block{
		{index: 0, offset: 300, size: 100}, {index: 1, offset: 500, size: 100}, {index: 2, offset: 1 << 40, size: 100},
		{index: 4, offset: 1<<40 + 200, size: 100}, {index: 5, offset: 1<<40 + 400, size: maxFrameBytes},
		{index: 6, offset: 1 << 50, size: 1},
	}
	var got []int
	for rest := blocks; len(rest) > 0; {
		sp := spanOf(nil, rest)
		got = append(got, len(sp.blocks))
		rest = rest[len(sp.blocks):]
		if sp.cost > fetchBytes {
			t.Errorf("a span costs %d", sp.cost)
		}
	}
	if want := []int{2, 1, 1, 1, 1}; !reflect.DeepEqual(got, want) {
		t.Errorf("spans of %v blocks, want %v", got, want)
	}
}

// TestGuard: a panic while a block is read is an error, and is logged with its stack.
func TestGuard(t *testing.T) {
	t.Parallel()
	var logs bytes.Buffer
	err := Guard(slog.New(slog.NewTextHandler(&logs, nil)), func() error { panic("slice bounds out of range") })
	if err == nil || !strings.Contains(logs.String(), "slice bounds") || !strings.Contains(logs.String(), "TestGuard") {
		t.Errorf("%v, %s", err, logs.String())
	}
	fault := errors.New("fault")
	if err := Guard(nil, func() error { return fault }); !errors.Is(err, fault) {
		t.Error(err)
	}
}

// FuzzBlock: no frame makes the reader panic or take much memory. It refuses all blocks that the official decoder
// refuses, and gives the same rows of the others, or none.
func FuzzBlock(f *testing.F) {
	for _, b := range seal(f, 4, someRows(12, 9)).blocks {
		f.Add(b.frame)
	}
	f.Add(compressed(f, make([]byte, 32<<20)))
	f.Add(compressed(f, []byte{0, 0, 0, 0}))
	f.Fuzz(func(t *testing.T, frame []byte) {
		b := &Block{frame: frame, Max: 1<<64 - 1}
		official, failed := segment.DecodeBlockFrame(frame)
		b.Events = uint32(len(official))
		var got []segment.Event
		var err error
		if took := allocated(func() { got, err = b.read() }); took > maxRowText+4*wholeBlock+64*uint64(len(frame)) {
			t.Errorf("%d bytes took %d of memory", len(frame), took)
		}
		if failed != nil && err == nil {
			t.Errorf("gives %d rows of what the official decoder refuses: %v", len(got), failed)
		}
		if err == nil {
			sameRows(t, got, official)
		}
	})
}

// FuzzIndex: no header or index makes its parser panic or take more memory than its length, and its blocks are in
// bounds.
func FuzzIndex(f *testing.F) {
	s := seal(f, 4, someRows(12, 9))
	f.Add(s.file[:segmentHeader], s.index)
	f.Fuzz(func(t *testing.T, head, index []byte) {
		footer := uint64(1 << 40)
		if h, err := segment.ReadSealedHeader(bytes.NewReader(head)); err == nil {
			footer = h.FooterOffset
		}
		var blocks []*Block
		var err error
		if took := allocated(func() { blocks, err = parseIndex("seg", index, footer) }); took > 1<<20+8*uint64(len(index)) {
			t.Errorf("%d bytes took %d of memory", len(index), took)
		}
		if err == nil {
			cutSpans(t, blocks, nil)
		}
	})
}
