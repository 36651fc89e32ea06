package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"time"

	"github.com/bluesky-social/jetstream/segment"
	"golang.org/x/sync/semaphore"
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
	logger    *slog.Logger    // of panics; nil: none
}

const (
	// archiveAttempts is how often a request is made before the session ends with it, and archiveBackoff the first wait
	// between two.
	archiveAttempts = 4
	archiveBackoff  = 250 * time.Millisecond

	// partBytes is how much of a segment one request fetches: some hundred blocks. A part is in memory as a whole.
	partBytes = 4 << 20
	// fetchBytes bounds the frames that are in memory, being fetched or waiting to be read: one stream doesn't fill a long
	// path. A block that is larger is fetched alone.
	fetchBytes = 8 * partBytes
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
		return p, fmt.Errorf("plan: it ends at %d, beyond the archive's end %d", p.PlannedThroughSeq, p.SealedTipSeq)
	}
	last := uint64(0)
	for _, s := range p.Segments {
		if s.MaxSeq < s.MinSeq || s.MinSeq <= last && last > 0 {
			return p, fmt.Errorf("plan: segment %s has events %d to %d, after one that ends with %d", s.Name, s.MinSeq, s.MaxSeq, last)
		}
		last = s.MaxSeq
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

// blocks reads a segment's index. When it is of no use, the segment is one block that can't be read.
func (a *archive) blocks(ctx context.Context, s *planSegment) ([]*block, error) {
	head, err := a.part(ctx, s, 0, segmentHeader)
	if err != nil {
		return nil, err
	}
	unreadable := &block{segment: s.Name, index: -1, min: s.MinSeq, max: s.MaxSeq} // all of it
	h, err := segment.ReadSealedHeader(bytes.NewReader(head))
	if err == nil && h.BlockCount > maxBlocks {
		err = fmt.Errorf("%d blocks", h.BlockCount)
	}
	if err != nil {
		unreadable.err = fmt.Errorf("its header: %w", err)
		return []*block{unreadable}, nil
	}
	index, err := a.part(ctx, s, h.BlockIndexOffset, uint64(h.BlockCount)*blockIndexEntry)
	if err != nil {
		return nil, err
	}
	all, err := parseIndex(s.Name, index, h.FooterOffset)
	if err != nil {
		unreadable.fromUS, unreadable.toUS = h.MinWitnessedAt, h.MaxWitnessedAt
		unreadable.err = fmt.Errorf("its index: %w", err)
		return []*block{unreadable}, nil
	}
	return all, nil
}

// part reads a span of a segment.
func (a *archive) part(ctx context.Context, s *planSegment, from, size uint64) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	data, err := a.request(ctx, http.MethodGet, "getSegment", url.Values{"name": {s.Name}}, nil,
		fmt.Sprintf("bytes=%d-%d", from, from+size-1), int64(size))
	if err == nil && uint64(len(data)) != size {
		err = fmt.Errorf("received %d of %d bytes", len(data), size)
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
		return nil, errors.New("the server ignores range requests")
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
	cost    int64 // of fetchBytes
	done    chan struct{}
}

// spanOf is the first of the blocks, and those behind it that one request fetches with it.
func spanOf(s *planSegment, blocks []*block) *span {
	first, n := blocks[0], 1
	size := uint64(first.size)
	for n < len(blocks) && first.err == nil && blocks[n].index == blocks[n-1].index+1 && size < partBytes {
		if size = blocks[n].offset + uint64(blocks[n].size) - first.offset; size > 2*partBytes {
			size = blocks[n-1].offset + uint64(blocks[n-1].size) - first.offset
			break
		}
		n++
	}
	return &span{segment: s, blocks: blocks[:n], cost: int64(min(size, fetchBytes)), done: make(chan struct{})}
}

// decodeFunc makes batches of a block; a worker is one goroutine.
type decodeFunc func(ctx context.Context, worker int, b *block) error

// read reads the slice's events behind after, up to before when that isn't 0, and gives do block after block, in order.
// decode, when it isn't nil, is called before, by one of several workers, and gives the block's batches. It ends with do's
// error, or when the archive ends; then it says where. An error of its own leaves a block unread, and nothing behind it was
// given to do.
func (a *archive) read(ctx context.Context, after, before uint64, decode decodeFunc, do func(*block) error) (through uint64, err error) {
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

// reading is a plan that is being read: what fetches, decodes and gives on, each at its own pace and all in order.
type reading struct {
	a       *archive
	running sync.WaitGroup
	room    *semaphore.Weighted // fetchBytes, taken before a span is fetched and given back when it was read
	spans   chan *span          // in order, being fetched
	jobs    chan *block         // being decoded
	order   chan *block         // the same, in order
	err     error               // of the first segment whose blocks are not known; read behind spans
}

func (a *archive) readPlan(ctx context.Context, p *plan, after, before uint64, decode decodeFunc, do func(*block) error) (through uint64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	workers := runtime.GOMAXPROCS(0)
	r := &reading{a: a, room: semaphore.NewWeighted(fetchBytes), spans: make(chan *span, fetchBytes/partBytes),
		jobs: make(chan *block, workers), order: make(chan *block, workers)}
	defer r.running.Wait()
	defer cancel()
	r.running.Go(func() { r.fetch(ctx, p, after, before) })
	r.running.Go(func() { r.queue(ctx) })
	for worker := range workers {
		r.running.Go(func() {
			for b := range r.jobs {
				if b.err == nil && decode != nil {
					b.broken = guard(a.logger, func() error { return decode(ctx, worker, b) })
				}
				close(b.batches)
			}
		})
	}
	through = after
	for b := range r.order {
		if err := do(b); err != nil {
			return through, err
		}
		b.frame = nil
		r.room.Release(b.cost)
		through = b.max
	}
	if ctx.Err() != nil {
		return through, ctx.Err()
	}
	return through, r.err // spans was closed after it was written, and order after spans
}

// fetch fetches what a plan wants, as long as there is room.
func (r *reading) fetch(ctx context.Context, p *plan, after, before uint64) {
	defer close(r.spans)
	for i := range p.Segments {
		s := &p.Segments[i]
		blocks, err := r.a.wanted(ctx, s, after, before)
		if err != nil {
			r.err = err
			return
		}
		for len(blocks) > 0 {
			sp := spanOf(s, blocks)
			blocks = blocks[len(sp.blocks):]
			sp.blocks[len(sp.blocks)-1].cost = sp.cost // given back with the last of them
			if r.room.Acquire(ctx, sp.cost) != nil {
				return
			}
			r.running.Go(func() {
				defer close(sp.done)
				r.a.fetch(ctx, sp)
			})
			select {
			case r.spans <- sp:
			case <-ctx.Done():
				return
			}
		}
	}
}

// queue hands fetched blocks on, in order.
func (r *reading) queue(ctx context.Context) {
	defer close(r.order)
	defer close(r.jobs)
	for sp := range r.spans {
		<-sp.done
		for _, b := range sp.blocks {
			b.batches = make(chan *batch, 1)
			select {
			case r.order <- b:
			case <-ctx.Done():
				return
			}
			select {
			case r.jobs <- b:
			case <-ctx.Done():
				return
			}
		}
	}
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
		if b.err != nil {
			b.min = max(b.min, after+1)
		} else if s.Mode == "blocks" {
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
	if first.err != nil {
		return
	}
	data, err := a.part(ctx, sp.segment, first.offset, last.offset+uint64(last.size)-first.offset)
	for _, b := range sp.blocks {
		if b.err = err; err == nil {
			from := b.offset - first.offset
			b.frame = data[from : from+uint64(b.size) : from+uint64(b.size)]
		}
	}
}

// fetchOne reads a block alone: one that can't be decoded may have been hurt on its way.
func (a *archive) fetchOne(ctx context.Context, b *block) (err error) {
	b.frame, err = a.request(ctx, http.MethodGet, "getBlock",
		url.Values{"segment": {b.segment}, "blockIndex": {fmt.Sprint(b.index)}}, nil, "", int64(b.size)+1)
	return err
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
