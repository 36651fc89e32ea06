// Package api serves weft's index over HTTP: Constellation's XRPC methods and older REST routes, weft's own methods,
// live streams, and routes about the service. Package routes is the table of all of them. The API parses, limits and
// answers requests; the store finds the answers.
//
// A procedure is a POST; every other route is a GET, and answers HEAD too unless it is a stream. Every answer has CORS
// headers for all origins. Every failure is {"error":"<name>","message":"<text>"} with one of these names:
//
//	400 InvalidRequest        a parameter is invalid; the message names it
//	400 FutureCursor          of a stream: the cursor is ahead of the log
//	400 OutdatedCursor        of a stream: the log no longer reaches back to the cursor
//	404 NotFound              no such path
//	405 MethodNotAllowed      not a method of the path
//	413 PayloadTooLarge       a body of more than 1 MiB
//	426 UpgradeRequired       the path is a WebSocket
//	429 RateLimitExceeded     of this address, if a limit is set
//	429 TooManySubscribers    of a stream
//	429 TooManyFilters        of a stream: its filters take too much memory
//	500 InternalServerError   a fault of weft, in its log output
//	501 MethodNotImplemented  no such XRPC method
//	503 Timeout               the answer took too long, in a queue or in the store
//	503 Busy                  too many requests wait, or too many answers are not read
//	503 NotReady              of /readyz only, with the reason
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

// Store is the index that the API queries. Targets and subjects in queries are normalised. Filters are sorted, without
// duplicates, and nil for none.
//
// The API refuses a Page.Next that comes back damaged or with another query. For a position that passes but is invalid,
// the store returns db.ErrBadCursor. Every other error is internal.
type Store interface {
	// CountLinks counts the links to a target from one source.
	CountLinks(ctx context.Context, target string, src db.Source) (int64, error)
	// CountDIDs counts the distinct accounts among them.
	CountDIDs(ctx context.Context, target string, src db.Source) (int64, error)
	// Links lists the linking records, newest first.
	Links(ctx context.Context, q db.ListQuery) (db.Page[db.Record], error)
	// DIDs lists the distinct linking accounts, in the order of each account's first link, newest first.
	DIDs(ctx context.Context, q db.ListQuery) (db.Page[string], error)
	// Sources lists the sources that link to a target.
	Sources(ctx context.Context, q db.SourcesQuery) (db.Page[db.SourceCount], error)
	// ManyToMany lists the other links of the linking records.
	ManyToMany(ctx context.Context, q db.ManyQuery) (db.Page[db.ManyItem], error)
	// ManyToManyCounts counts them by target.
	ManyToManyCounts(ctx context.Context, q db.ManyQuery) (db.Page[db.OtherCount], error)
	// Counts counts the links of many lists and their accounts, in the order of the pairs. It calls pause, unless nil,
	// after each db.PairsAtOnce lists.
	Counts(ctx context.Context, pairs []db.Pair, pause func() error) ([]db.PairCount, error)
	// AccountLinks lists the links to an account and to any of its records, newest first.
	AccountLinks(ctx context.Context, q db.AccountQuery) (db.Page[db.AccountLink], error)
	// AccountSources counts them by source; Total is the sum of all pages.
	AccountSources(ctx context.Context, q db.SourcesQuery) (db.Page[db.AccountCount], error)
	// AccountTotal counts all of them, cheaply.
	AccountTotal(ctx context.Context, did string) (int64, error)
	// Feed lists the newest links to a target, an account or web sites.
	Feed(ctx context.Context, q db.FeedQuery) ([]db.AccountLink, error)
	// FeedTotal counts them, cheaply.
	FeedTotal(ctx context.Context, q db.FeedQuery) (int64, error)
	// Timeline counts the links to a target by time.
	Timeline(ctx context.Context, q db.TimelineQuery) (db.Timeline, error)
	// CountsSince counts the links of many lists with this time or a later one.
	CountsSince(ctx context.Context, pairs []db.Pair, since int64) ([]int64, error)
	// LogLinks reads the log without the DIDs of the accounts.
	LogLinks(ctx context.Context, after uint64, limit int) (entries []db.LogEntry, last uint64, err error)
	// LogTime returns the newest time of an upstream's event among rows of the log.
	LogTime(ctx context.Context, after uint64, limit int) (newestUS int64, last uint64, err error)
	// LogAge returns a lower bound of the time since the log rows up to seq were committed.
	LogAge(ctx context.Context, seq uint64) (time.Duration, error)
	// RecordLinks lists the links of a record.
	RecordLinks(ctx context.Context, r db.Record) ([]db.Link, error)
	// Bodies returns the content of up to db.MaxBodies records, and the zero Body for a record without stored content.
	Bodies(ctx context.Context, records []db.Record) ([]db.Body, error)
	// The log, which the streams read.
	stream.Log
	// Stats returns the statistics of the index.
	Stats(ctx context.Context) (db.Stats, error)
	// Space returns the size of the index's files and memory.
	Space(ctx context.Context) (db.Space, error)
	// Gaps lists the open gaps, the newest hundred at most.
	Gaps(ctx context.Context) ([]db.Gap, error)
}

// Config configures the API. Only Store is required.
type Config struct {
	Store Store

	InstanceID string        // identifies the index: the API refuses cursors of other indexes
	Version    string        // empty: "dev"
	Handles    Handles       // resolves at://handle/… as a subject; nil: such a subject is refused
	Words      Words         // names accounts and records in feeds; nil: by DIDs
	TopFile    string        // file that keeps the counts of getTop over a restart; empty: none
	DIDWeb     string        // domain of this service's did:web, with a port if it has one; empty: no did.json
	Ready      func() error  // nil while the service can answer, else the reason; nil: it always can
	MaxLag     time.Duration // above which /readyz without max-lag is 503; 0: never
	// Current returns nil while the index is at most maxLag behind its source, else the reason; nil: it always is.
	Current  func(maxLag time.Duration) error
	Degraded func() string // a fault that does not make answers wrong, empty for none; nil: none

	// Parts of /status from other packages. A nil function leaves its part null.
	Upstream    func() *wire.Upstream
	Replication func() *wire.Replication
	Following   func() *wire.Following
	Faults      func() []wire.Fault // newest first
	Activity    func() Activity     // for Server.Watch

	Timeout     time.Duration         // time limit of an answer, including the wait for a semaphore; 0: 10 s
	Concurrency int                   // light queries at once; 0: 64. Medium ones: as many as cores, heavy ones: half
	Memory      int64                 // bytes for bodies, answers and filters; 0: an eighth of the process's
	Logger      *slog.Logger          // for internal errors and panics; nil: slog.Default()
	Metrics     prometheus.Registerer // without this package's metrics; nil: no metrics
	Now         func() time.Time      // nil: time.Now

	// AddressHeader is the client-IP header that the reverse proxy sets; the last entry of a list counts. Empty: the
	// address of the connection, because any client can send a header.
	AddressHeader string
	RatePerMinute int     // requests of one address in a minute; 0: no limit
	AccessLog     bool    // log each request
	Streams       Streams // limits of the live streams; New sets its Log, Now and Failed
}

const (
	// defaultTimeout: a lookup takes microseconds to milliseconds. One that takes longer than this is stuck, and most
	// clients have left.
	defaultTimeout = 10 * time.Second
	// defaultConcurrency hides the latency of the disk on a small machine. The pages in progress (a thousand records,
	// 100 kB each) stay well below 100 MB.
	defaultConcurrency = 64
)
