package api

import (
	"context"
	"net/http"
	"runtime"

	"weft.dev/weft/api/budget"
	"weft.dev/weft/db/memlimit"
)

// limits are the resources that all clients share. Each is a budget: a request takes its part before the work begins,
// and gives it back at the end of the work.
type limits struct {
	clients budget.Clients
	rate    *rateLimit // nil: any number of requests

	semaphores      [costs]*budget.Budget // of queries, by what they cost
	rendering       *budget.Budget        // concurrent rendering of pages
	pages           *budget.Budget        // pages in progress, also those that wait for answers
	memory          *budget.Budget        // bytes of bodies and messages during a read, and of answers during a write
	filters         *budget.Budget        // bytes of the filters of subscribers
	subscriberLimit *budget.Budget        // live streams
}

const (
	// memoryShare is the divisor of the process's memory for sizes that clients choose. The rest is for the index, its
	// cache and the garbage collector.
	memoryShare = 8
	// leastMemory is the minimum of that budget, in bytes: a message of a subscriber must fit in the share of one host.
	leastMemory = 96 << 20
	// hostPart is the divisor of a budget of bytes for one host; a network gets twice as much.
	hostPart = 4
	// smallBytes is the size in bytes up to which answers, bodies and filters are not counted: their connections cost
	// as much.
	smallBytes = 16 << 10
	// pagesAtOnce is the number of pages in progress: each holds its answers, some 200 kB, while it waits for the next.
	pagesAtOnce = 64
)

func newLimits(c *Config) limits {
	cores := int64(runtime.GOMAXPROCS(0))
	concurrency := int64(c.Concurrency)
	semaphore := func(n int64) *budget.Budget { return budget.New(budget.Config{Total: max(1, min(concurrency, n))}) }
	bytes := func(total int64) *budget.Budget {
		return budget.New(budget.Config{Total: total, PerHost: total / hostPart, PerNet: 2 * total / hostPart})
	}
	memory := c.Memory
	if memory <= 0 {
		memory = max(memlimit.Bytes()/memoryShare, leastMemory)
	}
	l := limits{
		clients:   budget.Clients{Header: c.AddressHeader},
		rendering: semaphore(cores / 2),
		pages:     budget.New(budget.Config{Total: pagesAtOnce, PerHost: pagesAtOnce / 4, PerNet: pagesAtOnce / 2}),
		memory:    bytes(memory / 2), filters: bytes(memory / 2),
		subscriberLimit: budget.New(budget.Config{
			Total:   int64(c.Streams.Total),
			PerHost: int64(c.Streams.PerAddress),
			PerNet:  budget.Wide * int64(c.Streams.PerAddress),
		}),
	}
	l.semaphores[light] = semaphore(concurrency)
	l.semaphores[medium] = semaphore(cores)
	l.semaphores[heavy] = semaphore(cores / 2)
	if c.RatePerMinute > 0 {
		l.rate = &rateLimit{perMinute: c.RatePerMinute, now: c.Now}
	}
	return l
}

// Admit counts a request that the API does not answer itself against the rate of its client. It returns false if it
// has refused the request.
func (s *Server) Admit(w http.ResponseWriter, r *http.Request) bool { return s.server.admit(w, r) }

// AdmitStream is Admit for a live stream, which also counts against the limit of subscribers until release is called.
// It returns nil if it has refused the request.
func (s *Server) AdmitStream(w http.ResponseWriter, r *http.Request) (release func()) {
	if !s.server.admit(w, r) {
		return nil
	}
	return s.server.admitStream(w, r)
}

// Page waits for one of pagesAtOnce slots.
func (s *Server) Page(r *http.Request) (done func(), err error) {
	return given(s.server.pages.Take(r.Context(), s.server.clients.Of(r), 1))
}

// Render waits for a slot of rendering.
func (s *Server) Render(r *http.Request) (done func(), err error) {
	return given(s.server.rendering.Take(r.Context(), s.server.clients.Of(r), 1))
}

// Hold reserves the bytes of an answer before it is written. It returns false if too many answers wait for their
// clients.
func (s *Server) Hold(r *http.Request, size int) (done func(), ok bool) {
	grant, ok := s.server.holdBytes(s.server.clients.Of(r), size)
	return grant.Give, ok
}

func given(grant *budget.Grant, err error) (func(), error) {
	if err != nil {
		return nil, err
	}
	return grant.Give, nil
}

// holdBytes reserves the bytes of an answer; none for a small one.
func (l *limits) holdBytes(who budget.Client, size int) (grant *budget.Grant, ok bool) {
	if size <= smallBytes {
		return nil, true
	}
	grant = l.memory.Try(who, int64(size))
	return grant, grant != nil
}

// holdFilter reserves the bytes of a subscriber's filter; none for a small one.
func (l *limits) holdFilter(who budget.Client, size int64) (*budget.Grant, *failure) {
	if size <= smallBytes {
		return nil, nil
	}
	grant := l.filters.Try(who, size)
	if grant == nil {
		return nil, errFilters
	}
	return grant, nil
}

// inSemaphore runs f in a slot of the semaphore of a cost, and returns the error of ctx if no slot becomes free in
// time. The slot is released before the answer is written, so that slow clients delay only themselves. Waiting clients
// are served round-robin by address.
func (l *limits) inSemaphore(ctx context.Context, who budget.Client, c cost, f func() error) error {
	return l.inTurns(ctx, who, c, func(func() error) error { return f() })
}

// inTurns is inSemaphore for work of several turns: f calls pause between them, which releases the slot and waits in
// line for another one.
func (l *limits) inTurns(ctx context.Context, who budget.Client, c cost, f func(pause func() error) error) error {
	grant, err := l.semaphores[c].Take(ctx, who, 1)
	if err != nil {
		return err
	}
	defer func() { grant.Give() }()
	return f(func() error {
		grant.Give()
		grant, err = l.semaphores[c].Take(ctx, who, 1)
		return err
	})
}
