package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"weft.dev/weft/api/stream"
	"weft.dev/weft/db"
)

// Streams says how many may listen. The zero value has all the defaults.
type Streams struct {
	PerAddress int // subscribers of one address; 0: 50
	Total      int // in all; 0: 5,000
	stream.Config
}

const (
	// A household or an office behind one address, with a few tabs each.
	defaultPerAddress = 50
	// At about 30 kB each, 150 MB.
	defaultSubscribers = 5000
)

// seats counts subscribers by address.
type seats struct {
	mu    sync.Mutex
	by    map[string]int
	total int
}

// take takes a seat; the function that it returns gives it back. It returns nil when none is free.
func (s *seats) take(address string, perAddress, total int) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= total || s.by[address] >= perAddress {
		return nil
	}
	if s.by == nil {
		s.by = map[string]int{}
	}
	s.by[address]++
	s.total++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.total--
		if s.by[address]--; s.by[address] == 0 {
			delete(s.by, address)
		}
	}
}

// address is whom a request is from: what the configured header of a proxy says, of a list the last entry, which the proxy
// itself has added; else the other end of the connection. An IPv6 address stands for its /64, which one subscriber has.
func (s *server) address(r *http.Request) string {
	text := r.RemoteAddr
	if s.AddressHeader != "" {
		if fields := r.Header.Values(s.AddressHeader); len(fields) > 0 {
			last := fields[len(fields)-1]
			text = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
		}
	}
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	ip := net.ParseIP(strings.Trim(text, "[]"))
	switch {
	case ip == nil:
		return clip(text)
	case ip.To4() == nil:
		return ip.Mask(net.CIDRMask(64, 128)).String()
	}
	return ip.String()
}

// subscribe reads what /subscribe and /events have in common, and enters. What it returns as an error is for the client.
func (s *server) subscribe(ctx context.Context, p *params, o stream.Options) (*stream.Subscription, error) {
	o.Filter = p.streamFilter()
	if text, ok := p.text("cursor"); ok {
		o.Cursor = p.streamCursor("cursor", text)
	}
	if p.err != nil {
		return nil, p.err
	}
	sub, err := s.tail.Subscribe(ctx, o)
	if f := streamFailure(err); f != nil {
		return nil, f
	}
	return sub, err
}

// streamCursor reads a cursor of a stream.
func (p *params) streamCursor(name, text string) *uint64 {
	digits := text != "" && !strings.ContainsFunc(text, func(c rune) bool { return c < '0' || c > '9' })
	n, err := strconv.ParseInt(text, 10, 64)
	if !digits || err != nil {
		p.fail(name, "must be the cursor of a frame, or a time in microseconds since 1970")
	}
	cursor := uint64(max(n, 0))
	return &cursor
}

// streamFilter reads the filters of a stream.
func (p *params) streamFilter() stream.Filter {
	filter := func(name, is string, norm func(string) (string, bool)) []string {
		return p.filter(name, p.values(name), p.schema(name).MaxLength, is, norm)
	}
	return stream.Filter{
		Subjects:    filter("wantedSubjects", "an at-uri, a DID or an absolute URI of at most 8 KiB", normal),
		Prefixes:    filter("wantedSubjectPrefixes", "of at most 8 KiB", validPrefix),
		SubjectDIDs: filter("wantedSubjectDids", "a DID", validDID),
		Sources:     filter("wantedSources", "a collection, a colon and a path, such as app.bsky.feed.like:subject.uri", normalSource),
		Collections: filter("wantedCollections", "an NSID", validNSID),
		Actors:      filter("wantedActors", "a DID", validDID),
	}
}

// streamFailure is what a client is told of an error of a subscription; nil when it is none of those.
func streamFailure(err error) *failure {
	switch {
	case errors.Is(err, stream.ErrFuture):
		return &failure{http.StatusBadRequest, "FutureCursor", "`cursor` lies ahead of the log: it is of another index, or a time to come; leave it out to begin now"}
	case errors.Is(err, stream.ErrOutdated):
		return &failure{http.StatusBadRequest, "OutdatedCursor", "`cursor` lies behind what the log still has: leave it out to begin now"}
	case errors.Is(err, stream.ErrTooSlow):
		return &failure{http.StatusTooManyRequests, "ConsumerTooSlow", "too many events wait for you: come back with the cursor of the last one"}
	case errors.Is(err, stream.ErrClosed):
		return &failure{http.StatusServiceUnavailable, "ShuttingDown", "this server goes down: come back with the cursor of the last event"}
	}
	return nil
}

// seat takes a seat for a request, or answers that there is none.
func (s *server) seat(w http.ResponseWriter, r *http.Request) (leave func()) {
	leave = s.seats.take(s.address(r), s.Streams.PerAddress, s.Streams.Total)
	if leave == nil {
		w.Header().Set("Retry-After", "60") // seconds; subscribers stay for long
		writeFailure(w, r, &failure{http.StatusTooManyRequests, "TooManySubscribers", "too many subscribers of this address, or in all: end one, or try again later"})
	}
	return leave
}

// logStream is the log that streams read.
var _ stream.Log = (*db.Store)(nil)
