package ingest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"time"

	"github.com/bluesky-social/jetstream/segment"
)

// archive reads the sealed segments of a v2 server. The official client reads whole segments, 279 MB each, of which
// several are in memory at a time (1.7 GB were measured); this one reads the blocks that it needs, by the index at each
// segment's end, and knows of a block that it can't read which events were in it.
type archive struct {
	host, key string
	user      *url.Userinfo // of a server without a key; nil: none
	slice     *Slice
	attempts  int             // for a request; 0: archiveAttempts
	fetched   func(bytes int) // called as bytes come, and each second that the archive lets us wait; nil: nobody
}

const (
	// archiveAttempts is how often a request is made before the session ends with it, and archiveBackoff the first wait
	// between two.
	archiveAttempts = 4
	archiveBackoff  = 250 * time.Millisecond

	// partBytes is how much of a segment one request fetches: some hundred blocks. A part is in memory as a whole.
	partBytes = 4 << 20
	// partsAhead is how many parts are fetched at a time: one stream doesn't fill a long path.
	partsAhead = 4

	// blockIndexEntry is the size of an entry of a segment's block index; segmentHeader that of its header.
	blockIndexEntry = 52
	segmentHeader   = 256
	// maxBlocks bounds a segment's index: real ones have some thousand blocks.
	maxBlocks = 1 << 18
)

// planSegment is a segment of a plan.
type planSegment struct {
	Name     string `json:"name"`
	Checksum string `json:"checksum"`
	MinSeq   uint64 `json:"minSeq"`
	MaxSeq   uint64 `json:"maxSeq"`
	Mode     string `json:"mode"`
	Blocks   []struct {
		First int `json:"first"`
		Last  int `json:"last"`
	} `json:"blocks"`
}

type plan struct {
	PlannedThroughSeq uint64        `json:"plannedThroughSeq"`
	SealedTipSeq      uint64        `json:"sealedTipSeq"`
	Segments          []planSegment `json:"segments"`
}

// plan asks what holds the slice's events behind after, up to before when that isn't 0.
func (a *archive) plan(ctx context.Context, after, before uint64) (p plan, err error) {
	in := map[string]any{"afterSeq": after}
	if before > 0 {
		in["beforeSeq"] = before
	}
	collections, dids := a.slice.wire(maxPlanDIDs)
	if len(collections) > 0 {
		in["collections"] = collections
	}
	if len(dids) > 0 {
		in["dids"] = dids
	}
	body, err := json.Marshal(in)
	if err != nil {
		return p, err
	}
	text, err := a.request(ctx, http.MethodPost, "planSnapshot", nil, body, "", 64<<20)
	if err != nil {
		return p, fmt.Errorf("plan: %w", err)
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return p, fmt.Errorf("plan: %w", err)
	}
	if p.PlannedThroughSeq > p.SealedTipSeq {
		return p, fmt.Errorf("plan: it goes to %d, beyond the archive's end %d", p.PlannedThroughSeq, p.SealedTipSeq)
	}
	return p, nil
}

// listed is a segment as listSegments describes it.
type listed struct {
	Name           string `json:"name"`
	SizeBytes      int64  `json:"sizeBytes"`
	EventCount     int64  `json:"eventCount"`
	MinSeq         uint64 `json:"minSeq"`
	MaxSeq         uint64 `json:"maxSeq"`
	MinWitnessedAt int64  `json:"minWitnessedAt"`
	MaxWitnessedAt int64  `json:"maxWitnessedAt"`
}

// list gives all segments, oldest first, until do is false.
func (a *archive) list(ctx context.Context, do func(*listed) bool) error {
	for cursor := ""; ; {
		q := url.Values{"limit": {"1000"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		// A thousand segments are about 300 kB.
		text, err := a.request(ctx, http.MethodGet, "listSegments", q, nil, "", 8<<20)
		if err != nil {
			return fmt.Errorf("list the archive: %w", err)
		}
		var page struct {
			Cursor   string   `json:"cursor"`
			Segments []listed `json:"segments"`
		}
		if err := json.Unmarshal(text, &page); err != nil {
			return fmt.Errorf("list the archive: %w", err)
		}
		for i := range page.Segments {
			if !do(&page.Segments[i]) {
				return nil
			}
		}
		if page.Cursor == "" || page.Cursor == cursor {
			return nil
		}
		cursor = page.Cursor
	}
}

// seqBefore is a sequence number before which the archive holds nothing of the time given or later: the segment that
// reaches it is read from its start, and what is earlier is left out event by event.
func (a *archive) seqBefore(ctx context.Context, us int64) (seq uint64, err error) {
	err = a.list(ctx, func(s *listed) bool {
		if s.MaxWitnessedAt >= us {
			seq = s.MinSeq - min(s.MinSeq, 1)
			return false
		}
		seq = s.MaxSeq
		return true
	})
	return seq, err
}

// endTime is the newest time in the archive, microseconds since 1970; 0: it is empty.
func (a *archive) endTime(ctx context.Context) (us int64, err error) {
	err = a.list(ctx, func(s *listed) bool {
		us = max(us, s.MaxWitnessedAt)
		return true
	})
	return us, err
}

// block is a block of a segment, as the segment's index describes it.
type block struct {
	segment      string
	index        int
	offset       uint64 // of the frame, behind its length
	size         uint32
	events       uint32
	min, max     uint64 // sequence numbers
	fromUS, toUS int64

	frame   []byte
	rows    []segment.Event // decoded, until decode has returned
	err     error           // it could not be fetched
	broken  error           // it could not be decoded
	batch   *batch          // what decode made of it
	knownUS int64           // the time of the event at the place's known position; 0: it isn't here
	decoded chan struct{}
}

// blocks reads a segment's index.
func (a *archive) blocks(ctx context.Context, s *planSegment) ([]*block, error) {
	head, err := a.part(ctx, s, 0, segmentHeader)
	if err != nil {
		return nil, err
	}
	h, err := segment.ReadSealedHeader(bytes.NewReader(head))
	if err != nil {
		return nil, fmt.Errorf("header of %s: %w", s.Name, err)
	}
	if h.BlockCount > maxBlocks {
		return nil, fmt.Errorf("header of %s: %d blocks", s.Name, h.BlockCount)
	}
	index, err := a.part(ctx, s, h.BlockIndexOffset, uint64(h.BlockCount)*blockIndexEntry)
	if err != nil {
		return nil, err
	}
	out := make([]*block, h.BlockCount)
	for i := range out {
		e := index[i*blockIndexEntry:]
		le := binary.LittleEndian
		b := &block{segment: s.Name, index: i, offset: le.Uint64(e) + 8, size: le.Uint32(e[8:]), events: le.Uint32(e[16:]),
			min: le.Uint64(e[20:]), max: le.Uint64(e[28:]), fromUS: int64(le.Uint64(e[36:])), toUS: int64(le.Uint64(e[44:]))}
		if b.offset < segmentHeader || b.offset+uint64(b.size) > h.FooterOffset || b.max < b.min {
			return nil, fmt.Errorf("index of %s: block %d is at %d, %d bytes, with events %d to %d", s.Name, i, b.offset, b.size, b.min, b.max)
		}
		out[i] = b
	}
	return out, nil
}

// part reads a span of a segment.
func (a *archive) part(ctx context.Context, s *planSegment, from, size uint64) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	data, err := a.request(ctx, http.MethodGet, "getSegment", url.Values{"name": {s.Name}}, nil,
		fmt.Sprintf("bytes=%d-%d", from, from+size-1), int64(size))
	if err == nil && uint64(len(data)) != size {
		err = fmt.Errorf("%d bytes came of %d", len(data), size)
	}
	if err != nil {
		return nil, fmt.Errorf("bytes %d to %d of %s: %w", from, from+size, s.Name, err)
	}
	return data, nil
}

// request asks the archive, again after what may pass.
func (a *archive) request(ctx context.Context, method, name string, q url.Values, body []byte, span string, limit int64) ([]byte, error) {
	attempts, wait := a.attempts, archiveBackoff
	if attempts == 0 {
		attempts = archiveAttempts
	}
	for try := 1; ; try++ {
		data, err := a.ask(ctx, method, name, q, body, span, limit)
		var refused *retryAfter
		final := errors.As(err, &refused) && refused.status < 500 && refused.status != http.StatusTooManyRequests
		if err == nil || final || try == attempts || ctx.Err() != nil {
			return data, err
		}
		pause := wait
		if refused != nil && refused.wait > 0 {
			pause = refused.wait
		}
		for ; pause > 0; pause -= time.Second {
			a.tell(0)
			if !sleep(ctx, min(pause, time.Second)) {
				return nil, ctx.Err()
			}
		}
		wait *= 2
	}
}

func (a *archive) ask(ctx context.Context, method, name string, q url.Values, body []byte, span string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // for 4 MB at most
	defer cancel()
	u := a.host + "/xrpc/network.bsky.jetstream." + name
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if span != "" {
		req.Header.Set("Range", span)
	}
	if a.key != "" {
		req.Header.Set("Authorization", "Bearer "+a.key)
	} else {
		(&endpoint{a.host, a.user}).authorize(req.Header)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK && (span == "" || res.StatusCode != http.StatusPartialContent) {
		return nil, refused(res)
	}
	if span != "" && res.StatusCode == http.StatusOK {
		return nil, errors.New("it sends whole segments only")
	}
	buf := bytes.NewBuffer(make([]byte, 0, min(max(res.ContentLength, 512), limit)+bytes.MinRead))
	for {
		n, err := io.CopyN(buf, res.Body, min(tellBytes, limit-int64(buf.Len())))
		a.tell(int(n))
		switch {
		case errors.Is(err, io.EOF) || int64(buf.Len()) == limit:
			return buf.Bytes(), nil
		case err != nil:
			return nil, err
		}
	}
}

// tellBytes is how much comes before it is told: a slow line is no silent one.
const tellBytes = 64 << 10

func (a *archive) tell(bytes int) {
	if a.fetched != nil {
		a.fetched(bytes)
	}
}

// span is neighbouring blocks that one request fetches.
type span struct {
	segment *planSegment
	blocks  []*block
	done    chan struct{}
}

// read reads the slice's events behind after, up to before when that isn't 0, and gives do block after block, in order;
// what decode made of it is in them. It ends with do's error, or when the archive ends; then it says where. An error of
// its own leaves a block unread, and nothing behind it was given to do.
func (a *archive) read(ctx context.Context, after, before uint64, decode func(worker int, b *block), do func(*block) error) (through uint64, err error) {
	for {
		p, err := a.plan(ctx, after, before)
		if err != nil {
			return after, err
		}
		through, err := a.readPlan(ctx, &p, after, before, decode, do)
		if err != nil {
			return through, err
		}
		through = max(through, p.PlannedThroughSeq)
		if p.PlannedThroughSeq >= p.SealedTipSeq || through == after || before > 0 && through+1 >= before {
			return through, nil
		}
		after = through
	}
}

// readPlan fetches, decodes and gives on, each at its own pace and all in order.
func (a *archive) readPlan(ctx context.Context, p *plan, after, before uint64, decode func(int, *block), do func(*block) error) (through uint64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	workers := runtime.GOMAXPROCS(0)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	spans := make(chan *span, partsAhead)       // in order, being fetched
	jobs := make(chan *block, 2*workers)        // being decoded
	order := make(chan *block, 2*workers)       // the same, in order
	var planErr error                           // of the first that could not be planned; read behind spans
	fetching := make(chan struct{}, partsAhead) // slots
	running.Go(func() {
		defer close(spans)
		for i := range p.Segments {
			s := &p.Segments[i]
			blocks, err := a.wanted(ctx, s, after, before)
			if err != nil {
				planErr = err
				return
			}
			for len(blocks) > 0 {
				n, size := 1, uint64(blocks[0].size)
				for n < len(blocks) && blocks[n].index == blocks[n-1].index+1 && size < partBytes {
					size += 8 + uint64(blocks[n].size)
					n++
				}
				sp := &span{s, blocks[:n], make(chan struct{})}
				blocks = blocks[n:]
				select {
				case fetching <- struct{}{}:
				case <-ctx.Done():
					return
				}
				running.Go(func() {
					defer close(sp.done)
					a.fetch(ctx, sp)
				})
				select {
				case spans <- sp:
				case <-ctx.Done():
					return
				}
			}
		}
	})
	running.Go(func() {
		defer close(order)
		defer close(jobs)
		for sp := range spans {
			<-sp.done
			for _, b := range sp.blocks {
				b.decoded = make(chan struct{})
				select {
				case order <- b:
				case <-ctx.Done():
					return
				}
				select {
				case jobs <- b:
				case <-ctx.Done():
					return
				}
			}
			<-fetching
		}
	})
	for worker := range workers {
		running.Go(func() {
			for b := range jobs {
				if b.err == nil {
					b.rows, b.broken = segment.DecodeBlockFrame(b.frame)
					if b.frame = nil; b.broken == nil {
						decode(worker, b)
					}
				}
				close(b.decoded)
			}
		})
	}
	through = after
	for b := range order {
		select {
		case <-b.decoded:
		case <-ctx.Done():
			return through, ctx.Err()
		}
		if err := do(b); err != nil {
			return through, err
		}
		through = b.max
	}
	if ctx.Err() != nil {
		return through, ctx.Err()
	}
	return through, planErr // spans was closed after it was written, and order after spans
}

// wanted is the blocks of a segment that a plan wants.
func (a *archive) wanted(ctx context.Context, s *planSegment, after, before uint64) ([]*block, error) {
	all, err := a.blocks(ctx, s)
	if err != nil {
		return nil, err
	}
	out := all[:0]
	at := 0
	for _, b := range all {
		if s.Mode == "blocks" {
			for at < len(s.Blocks) && s.Blocks[at].Last < b.index {
				at++
			}
			if at == len(s.Blocks) || b.index < s.Blocks[at].First {
				continue
			}
		}
		if b.max > after && (before == 0 || b.min <= before) {
			out = append(out, b)
		}
	}
	return out, nil
}

// fetch reads a span's blocks.
func (a *archive) fetch(ctx context.Context, sp *span) {
	first, last := sp.blocks[0], sp.blocks[len(sp.blocks)-1]
	data, err := a.part(ctx, sp.segment, first.offset, last.offset+uint64(last.size)-first.offset)
	for _, b := range sp.blocks {
		if b.err = err; err == nil {
			from := b.offset - first.offset
			b.frame = data[from : from+uint64(b.size)]
		}
	}
}

// fetchOne reads a block alone: one that can't be decoded may have been hurt on its way.
func (a *archive) fetchOne(ctx context.Context, b *block) ([]segment.Event, error) {
	frame, err := a.request(ctx, http.MethodGet, "getBlock",
		url.Values{"segment": {b.segment}, "blockIndex": {fmt.Sprint(b.index)}}, nil, "", int64(b.size)+1)
	if err != nil {
		return nil, err
	}
	return segment.DecodeBlockFrame(frame)
}

// sleep waits; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
