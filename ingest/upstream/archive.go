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

// Archive reads the sealed segments of a v2 server. The official client reads whole segments, 279 MB each, of which
// several are in memory at a time (1.7 GB were measured); this one reads the blocks that it needs, by the index at each
// segment's end, and knows of a block that it can't read which events were in it.
type Archive struct {
	Endpoint
	Key      string // an API key; empty: the endpoint's user
	Filter   Filter
	attempts int             // for a request; 0: archiveAttempts
	Fetched  func(bytes int) // called as bytes come, and each second that the archive lets us wait; nil: nobody
	Logger   *slog.Logger    // of panics; nil: none
}

const (
	// archiveAttempts is how often a request is made before the session ends with it, and archiveBackoff the first wait
	// between two.
	archiveAttempts = 4
	archiveBackoff  = 250 * time.Millisecond
)

// PlannedSegment is a segment of a plan.
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

// Plan asks what holds the slice's events behind after, up to before when that isn't 0.
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

// Segments gives all segments, oldest first, until do is false.
func (a *Archive) Segments(ctx context.Context, do func(*SegmentInfo) bool) error {
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

// SeqBefore is a sequence number before which the archive holds nothing of the time given or later: the segment that
// reaches it is read from its start, and what is earlier is left out event by event.
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

// EndTime is the newest time in the archive, microseconds since 1970; 0: it is empty.
func (a *Archive) EndTime(ctx context.Context) (us int64, err error) {
	err = a.Segments(ctx, func(s *SegmentInfo) bool {
		us = max(us, s.MaxWitnessedAt)
		return true
	})
	return us, err
}

// blocks reads a segment's index. When it is of no use, the segment is one block that can't be read.
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
		unreadable.FromUS, unreadable.ToUS = h.MinWitnessedAt, h.MaxWitnessedAt
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
func (a *Archive) request(ctx context.Context, method, name string, q url.Values, body []byte, span string, limit int64) ([]byte, error) {
	attempts, wait := a.attempts, archiveBackoff
	if attempts == 0 {
		attempts = archiveAttempts
	}
	for try := 1; ; try++ {
		data, err := a.ask(ctx, method, name, q, body, span, limit)
		var refused *Refused
		final := errors.As(err, &refused) && refused.Final()
		if err == nil || final || try == attempts || ctx.Err() != nil {
			return data, err
		}
		pause := wait
		if refused != nil && refused.Wait > 0 {
			pause = refused.Wait
		}
		for ; pause > 0; pause -= time.Second {
			a.tell(0)
			if !Sleep(ctx, min(pause, time.Second)) {
				return nil, ctx.Err()
			}
		}
		wait *= 2
	}
}

func (a *Archive) ask(ctx context.Context, method, name string, q url.Values, body []byte, span string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // for 4 MB at most
	defer cancel()
	u := a.URL + "/xrpc/network.bsky.jetstream." + name
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
	if a.Key != "" {
		req.Header.Set("Authorization", "Bearer "+a.Key)
	} else {
		a.authorize(req.Header)
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

func (a *Archive) tell(bytes int) {
	if a.Fetched != nil {
		a.Fetched(bytes)
	}
}
