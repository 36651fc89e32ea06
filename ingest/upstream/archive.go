package upstream

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
	"time"

	"github.com/bluesky-social/jetstream/segment"
)

// Archive reads the sealed segments of a v2 server. It reads single blocks, by the index at each segment's end. So it
// knows which events are in a block that it can't read. The official client reads whole segments of 279 MB and holds
// several of them in memory: 1.7 GB as measured.
type Archive struct {
	Endpoint
	Key      string // an API key; empty: the endpoint's user
	Filter   Filter
	attempts int             // of a request; 0: archiveAttempts
	Fetched  func(bytes int) // called as bytes come, and each second of a Retry-After; nil: no call
	Logger   *slog.Logger    // of panics; nil: no log
}

const (
	// archiveAttempts is the number of attempts of a request. archiveBackoff is the first wait between two attempts;
	// each wait is twice as long as the one before.
	archiveAttempts = 4
	archiveBackoff  = 250 * time.Millisecond
)

// PlannedSegment is a segment of an ArchivePlan.
type PlannedSegment struct {
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

type ArchivePlan struct {
	PlannedThroughSeq uint64           `json:"plannedThroughSeq"`
	SealedTipSeq      uint64           `json:"sealedTipSeq"`
	Segments          []PlannedSegment `json:"segments"`
}

// Plan asks for the segments and blocks with the filter's events after the sequence number after, before the number
// before unless it is 0.
func (a *Archive) Plan(ctx context.Context, after, before uint64) (p ArchivePlan, err error) {
	in := map[string]any{"afterSeq": after}
	if before > 0 {
		in["beforeSeq"] = before
	}
	filter := a.Filter.ForPlan()
	if len(filter.Collections) > 0 {
		in["collections"] = filter.Collections
	}
	if len(filter.DIDs) > 0 {
		in["dids"] = filter.DIDs
	}
	body, err := json.Marshal(in)
	if err != nil {
		return p, err
	}
	text, err := a.request(ctx, call{method: http.MethodPost, name: "planSnapshot", body: body, limit: 64 << 20})
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
			return p, fmt.Errorf("plan: segment %s has events %d to %d, after one that ends with %d",
				s.Name, s.MinSeq, s.MaxSeq, last)
		}
		last = s.MaxSeq
	}
	return p, nil
}

// SegmentInfo is a segment as listSegments describes it.
type SegmentInfo struct {
	Name           string `json:"name"`
	SizeBytes      int64  `json:"sizeBytes"`
	EventCount     int64  `json:"eventCount"`
	MinSeq         uint64 `json:"minSeq"`
	MaxSeq         uint64 `json:"maxSeq"`
	MinWitnessedAt int64  `json:"minWitnessedAt"`
	MaxWitnessedAt int64  `json:"maxWitnessedAt"`
}

// Segments calls do with each segment, oldest first, until do returns false.
func (a *Archive) Segments(ctx context.Context, do func(*SegmentInfo) bool) error {
	for cursor := ""; ; {
		q := url.Values{"limit": {"1000"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		// A thousand segments are about 300 kB.
		text, err := a.request(ctx, call{method: http.MethodGet, name: "listSegments", query: q, limit: 8 << 20})
		if err != nil {
			return fmt.Errorf("list the archive: %w", err)
		}
		var page struct {
			Cursor   string        `json:"cursor"`
			Segments []SegmentInfo `json:"segments"`
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

// SeqBefore returns a sequence number up to which the archive has no event of the time us or later. It is the start of
// a segment, so the caller ignores events after it that are earlier than us.
func (a *Archive) SeqBefore(ctx context.Context, us int64) (seq uint64, err error) {
	err = a.Segments(ctx, func(s *SegmentInfo) bool {
		if s.MaxWitnessedAt >= us {
			seq = s.MinSeq - min(s.MinSeq, 1)
			return false
		}
		seq = s.MaxSeq
		return true
	})
	return seq, err
}

// EndTime returns the newest time in the archive, in microseconds since 1970; 0: the archive is empty.
func (a *Archive) EndTime(ctx context.Context) (us int64, err error) {
	err = a.Segments(ctx, func(s *SegmentInfo) bool {
		us = max(us, s.MaxWitnessedAt)
		return true
	})
	return us, err
}

// blocks reads a segment's index. If it is malformed, the segment is one block that can't be read.
func (a *Archive) blocks(ctx context.Context, s *PlannedSegment) ([]*Block, error) {
	head, err := a.part(ctx, s, 0, segmentHeader)
	if err != nil {
		return nil, err
	}
	unreadable := &Block{segment: s.Name, index: -1, Min: s.MinSeq, Max: s.MaxSeq} // all of it
	h, err := segment.ReadSealedHeader(bytes.NewReader(head))
	if err == nil && h.BlockCount > maxBlocks {
		err = fmt.Errorf("%d blocks", h.BlockCount)
	}
	if err != nil {
		unreadable.Err = fmt.Errorf("its header: %w", err)
		return []*Block{unreadable}, nil
	}
	index, err := a.part(ctx, s, h.BlockIndexOffset, uint64(h.BlockCount)*blockIndexEntry)
	if err != nil {
		return nil, err
	}
	all, err := parseIndex(s.Name, index, h.FooterOffset)
	if err != nil {
		unreadable.FromUS = h.MinWitnessedAt
		unreadable.ToUS = h.MaxWitnessedAt
		unreadable.Err = fmt.Errorf("its index: %w", err)
		return []*Block{unreadable}, nil
	}
	return all, nil
}

// part reads a span of a segment.
func (a *Archive) part(ctx context.Context, s *PlannedSegment, from, size uint64) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	span := fmt.Sprintf("bytes=%d-%d", from, from+size-1)
	data, err := a.request(ctx, call{
		method: http.MethodGet, name: "getSegment", query: url.Values{"name": {s.Name}}, span: span, limit: int64(size),
	})
	if err == nil && uint64(len(data)) != size {
		err = fmt.Errorf("received %d of %d bytes", len(data), size)
	}
	if err != nil {
		return nil, fmt.Errorf("bytes %d to %d of %s: %w", from, from+size, s.Name, err)
	}
	return data, nil
}

// call is a request to the archive.
type call struct {
	method string // of HTTP
	name   string // of the XRPC method, without its namespace
	query  url.Values
	body   []byte // JSON; nil: none
	span   string // the header Range; empty: none
	limit  int64  // of the answer, in bytes
}

// request makes a call, and repeats it after temporary errors.
func (a *Archive) request(ctx context.Context, c call) ([]byte, error) {
	attempts := a.attempts
	if attempts == 0 {
		attempts = archiveAttempts
	}
	wait := archiveBackoff
	for try := 1; ; try++ {
		data, err := a.requestOnce(ctx, c)
		var refused *Refused
		isFinal := errors.As(err, &refused) && refused.Final()
		if err == nil || isFinal || try == attempts || ctx.Err() != nil {
			return data, err
		}
		pause := wait
		if refused != nil && refused.Wait > 0 {
			pause = refused.Wait
		}
		if !a.pause(ctx, pause) {
			return nil, ctx.Err()
		}
		wait *= 2
	}
}

// pause waits between two attempts, and reports each second. It returns false if ctx ends.
func (a *Archive) pause(ctx context.Context, d time.Duration) bool {
	for ; d > 0; d -= time.Second {
		a.report(0)
		if !Sleep(ctx, min(d, time.Second)) {
			return false
		}
	}
	return true
}

// requestTimeout bounds one request of partBytes or of a block.
const requestTimeout = 2 * time.Minute

func (a *Archive) requestOnce(ctx context.Context, c call) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	u := a.URL + "/xrpc/network.bsky.jetstream." + c.name
	if len(c.query) > 0 {
		u += "?" + c.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, c.method, u, bytes.NewReader(c.body))
	if err != nil {
		return nil, err
	}
	if c.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.span != "" {
		req.Header.Set("Range", c.span)
	}
	if a.Key != "" {
		req.Header.Set("Authorization", "Bearer "+a.Key)
	} else {
		a.authorize(req.Header)
	}
	res, err := a.client().Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	switch {
	case c.span != "" && res.StatusCode == http.StatusOK:
		return nil, errors.New("the server ignores range requests")
	case c.span != "" && res.StatusCode == http.StatusPartialContent:
	case res.StatusCode != http.StatusOK:
		return nil, refused(res)
	}
	return a.readBody(res, c.limit)
}

// readBody reads at most limit bytes of an answer, and reports them as they come.
func (a *Archive) readBody(res *http.Response, limit int64) ([]byte, error) {
	buf := bytes.NewBuffer(make([]byte, 0, min(max(res.ContentLength, 512), limit)+bytes.MinRead))
	for {
		n, err := io.CopyN(buf, res.Body, min(reportBytes, limit-int64(buf.Len())))
		a.report(int(n))
		switch {
		case errors.Is(err, io.EOF), int64(buf.Len()) == limit:
			return buf.Bytes(), nil
		case err != nil:
			return nil, err
		}
	}
}

// reportBytes is the number of bytes between two calls of Fetched: a slow connection must not look silent.
const reportBytes = 64 << 10

func (a *Archive) report(bytes int) {
	if a.Fetched != nil {
		a.Fetched(bytes)
	}
}
