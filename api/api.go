// Package api serves weft's index over HTTP: Constellation's XRPC methods and its older REST routes, and the few
// routes that a service needs about itself. It parses, bounds and answers requests; what the answers say is the
// store's affair.
//
// Every route is a GET that also answers HEAD, but for procedures, which are POST, and every answer, a failure too, is
// JSON with CORS open to all. A failure is {"error":"<name>","message":"<text>"} with one of these names:
//
//	400 InvalidRequest        a parameter is wrong; the message names it
//	404 NotFound              no such path
//	400 FutureCursor, OutdatedCursor  of a stream
//	405 MethodNotAllowed      not a method of the path
//	413 PayloadTooLarge       a body of more than 1 MiB
//	429 RateLimitExceeded     of this address, where a limit is set
//	429 TooManySubscribers    of a stream
//	429 TooManyFilters        of a stream: its filters take too much memory
//	500 InternalServerError   ours to find, in the log
//	501 MethodNotImplemented  no such XRPC method
//	503 Timeout               the answer took too long, in the queue or in the store
//	503 Busy                  too many requests wait, or too many answers are not read
//	503 NotReady              /readyz only, with the reason
package api

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weft.dev/weft/api/stream"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
)

// Store is the index that the API asks. Targets and subjects in queries are normalised; filters are sorted, without
// duplicates, and nil for none.
//
// The API refuses a Page.Next that comes back damaged or with another query. For one that it lets through, the store
// returns db.ErrBadCursor. Every other error is internal.
type Store interface {
	// CountLinks counts the links to a target from one source.
	CountLinks(ctx context.Context, target string, src db.Source) (int64, error)
	// CountDIDs counts the distinct accounts among them.
	CountDIDs(ctx context.Context, target string, src db.Source) (int64, error)
	// Links lists the linking records, newest first.
	Links(ctx context.Context, q db.ListQuery) (db.Page[db.Record], error)
	// DIDs lists the distinct linking accounts, newest first by each one's first link.
	DIDs(ctx context.Context, q db.ListQuery) (db.Page[string], error)
	// Sources lists the sources that link to a target.
	Sources(ctx context.Context, q db.SourcesQuery) (db.Page[db.SourceCount], error)
	// ManyToMany lists what else the linking records link to.
	ManyToMany(ctx context.Context, q db.ManyQuery) (db.Page[db.ManyItem], error)
	// ManyToManyCounts counts the same by what they link to.
	ManyToManyCounts(ctx context.Context, q db.ManyQuery) (db.Page[db.OtherCount], error)
	// Counts counts the links of many lists and the accounts that made them, in the order of the pairs.
	Counts(ctx context.Context, pairs []db.Pair) ([]db.PairCount, error)
	// AccountLinks lists the links to an account and to any of its records, newest first.
	AccountLinks(ctx context.Context, q db.AccountQuery) (db.Page[db.AccountLink], error)
	// AccountSources counts them by source; Total is the sum of all pages.
	AccountSources(ctx context.Context, q db.SourcesQuery) (db.Page[db.AccountCount], error)
	// AccountTotal counts all of them, cheaply.
	AccountTotal(ctx context.Context, did string) (int64, error)
	// Timeline counts the links to a target by time.
	Timeline(ctx context.Context, q db.TimelineQuery) (db.Timeline, error)
	// RecordLinks lists what a record links to.
	RecordLinks(ctx context.Context, r db.Record) ([]db.Link, error)
	// Bodies returns the content of up to db.MaxBodies records, the zero Body for one that is not kept.
	Bodies(ctx context.Context, records []db.Record) ([]db.Body, error)
	// The log, which the streams read.
	stream.Log
	// Stats sums the index up.
	Stats(ctx context.Context) (db.Stats, error)
	// Space returns the size of its files and memory.
	Space(ctx context.Context) (db.Space, error)
	// Gaps lists the open gaps, the newest hundred at most.
	Gaps(ctx context.Context) ([]db.Gap, error)
}

// Config configures the API. Only Store is required.
type Config struct {
	Store Store

	// which index this is: a cursor of another one is refused; "" is an id like any other
	InstanceID  string
	Version     string                   // what /xrpc/_health reports; "": "dev"
	Handles     Handles                  // resolves at://handle/… as a subject; nil: such a subject is refused
	DIDWeb      string                   // domain of this service's did:web, with its port if it has one; "": no did.json
	Ready       func() error             // nil when ready, else the reason why not; nil: always ready
	Upstream    func() *wire.Upstream    // what /status says of where the events come from, as JSON; nil: nothing
	Degraded    func() string            // why this service is ready and yet not well; empty or nil: it is well
	Replication func() *wire.Replication // what it says of the replica; nil: nothing
	Following   func() *wire.Following   // what it says of the replica that is followed; nil: none is
	Faults      func() []wire.Fault      // what it says went wrong lately, the newest first; nil: nothing
	// of the upstream, for Server.Watch; nil: /status has no figures of the last minutes
	Activity func() Activity
	Timeout  time.Duration // for one answer, the wait for its turn included; 0: 10 s
	// store queries at once, the others wait for their turn; 0: 64; of longer ones as many as cores, of walks half
	Concurrency int
	// bytes that bodies, answers and filters of all clients take at most; 0: an eighth of the process's
	Memory  int64
	Logger  *slog.Logger          // for internal errors and panics; nil: slog.Default()
	Metrics prometheus.Registerer // must not hold this package's metrics yet; nil: none are registered
	Now     func() time.Time      // nil: time.Now

	// AddressHeader is the client-IP header that the reverse proxy sets; the last entry of a list counts. Empty: the
	// address of the connection, because any client can send a header.
	AddressHeader string
	RatePerMinute int     // requests of one address in a minute; 0: any number
	AccessLog     bool    // a line in the log for each request
	Streams       Streams // limits of the live streams; its Log, Now and Failed are set here
}

const (
	// A lookup takes microseconds to milliseconds. One that takes longer than this is stuck, and most clients have
	// left.
	defaultTimeout = 10 * time.Second
	// Enough to hide the latency of the disk on a small machine. The pages in progress (a thousand records, 100 kB
	// each) stay well below 100 MB.
	defaultConcurrency = 64
)
