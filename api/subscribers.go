package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"weft.dev/weft/api/budget"
	"weft.dev/weft/api/stream"
	"weft.dev/weft/db"
)

// Streams limits the live streams. The zero value has all defaults.
type Streams struct {
	PerAddress int // subscribers of one address; 0: 50
	Total      int // in all; 0: 5,000
	stream.Config
}

const (
	// defaultPerAddress suffices for a household or an office behind one address, with a few tabs each.
	defaultPerAddress = 50
	// defaultSubscribers take 150 MB at about 30 kB each.
	defaultSubscribers = 5000
)

// subscriber is a client of a stream, with its reserved resources.
type subscriber struct {
	*stream.Subscription
	who    budget.Client
	filter *budget.Grant
}

// options reads the parameters that /subscribe and /events share, and returns the filter.
func (p *params) options(o *stream.Options) stream.Filter {
	filter := p.streamFilter()
	o.Want = filter.Match()
	if text, ok := p.text("cursor"); ok {
		o.Cursor = p.streamCursor("cursor", text)
	}
	return filter
}

// subscribe starts the subscription of an admitted client. Its errors are for the client. The look-up of the cursor's
// log row is a light query.
func (s *server) subscribe(ctx context.Context, who budget.Client, o stream.Options) (*subscriber, error) {
	grant, refused := s.holdFilter(who, o.Want.Size())
	if refused != nil {
		return nil, refused
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	var sub *stream.Subscription
	err := s.inSemaphore(ctx, who, light, func() (err error) {
		sub, err = s.tail.Subscribe(ctx, o)
		return err
	})
	if err != nil {
		grant.Give()
		if f := streamFailure(err); f != nil {
			return nil, f
		}
		return nil, err
	}
	return &subscriber{sub, who, grant}, nil
}

// want replaces the filter.
func (c *subscriber) want(l *limits, m *stream.Matcher) *failure {
	grant, refused := l.holdFilter(c.who, m.Size())
	if refused != nil {
		return refused
	}
	c.Want(m)
	c.filter.Give()
	c.filter = grant
	return nil
}

// leave releases the resources of a subscriber.
func (c *subscriber) leave() {
	c.Close()
	c.filter.Give()
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
		Prefixes:    filter("wantedSubjectPrefixes", "a prefix of at most 8 KiB", validPrefix),
		SubjectDIDs: filter("wantedSubjectDids", "a DID", validDID),
		Sources: filter("wantedSources", "a collection, a colon and a path, such as app.bsky.feed.like:subject.uri",
			normalSource),
		Collections: filter("wantedCollections", "an NSID", validNSID),
		Actors:      filter("wantedActors", "a DID", validDID),
	}
}

// streamFailure returns the failure of an error of a subscription; nil for any other error.
func streamFailure(err error) *failure {
	switch {
	case errors.Is(err, stream.ErrFuture):
		return newFailure(http.StatusBadRequest, "FutureCursor",
			"`cursor` is ahead of the log: it comes from another index or is in the future; omit it to begin with the "+
				"next event")
	case errors.Is(err, stream.ErrOutdated):
		return newFailure(http.StatusBadRequest, "OutdatedCursor",
			"`cursor` is too old: the log no longer has the events after it; omit it to begin with the next event")
	case errors.Is(err, stream.ErrTooSlow):
		return newFailure(http.StatusTooManyRequests, "ConsumerTooSlow",
			"this client is too slow: too many events are waiting; reconnect with the cursor of the last event")
	case errors.Is(err, stream.ErrClosed):
		return newFailure(http.StatusServiceUnavailable, "ShuttingDown",
			"the server is shutting down: reconnect with the cursor of the last event")
	}
	return nil
}

// admitStream counts a request against the limit of subscribers until release is called. It returns nil if it has
// refused the request.
func (s *server) admitStream(w http.ResponseWriter, r *http.Request) (release func()) {
	grant := s.subscriberLimit.Try(s.clients.Of(r), 1)
	if grant == nil {
		w.Header().Set("Retry-After", "60") // seconds; subscribers stay for long
		writeFailure(w, r, newFailure(http.StatusTooManyRequests, "TooManySubscribers",
			"too many subscribers from this client address, or in total: close one, or try again later"))
		return nil
	}
	return grant.Give
}

// The store has the log that the streams read.
var _ stream.Log = (*db.Store)(nil)
