package api

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/top"
)

// otherRoute labels the requests that no route answered: unknown paths, wrong methods, preflights.
const otherRoute = "other"

type metrics struct {
	requests map[*routes.Route]*requestMetrics // nil: those that no route answered
	panics   prometheus.Counter

	subscribers *prometheus.GaugeVec
	frames      prometheus.Counter
	ended       *prometheus.CounterVec
}

// requestMetrics are the metrics of the requests of one route.
type requestMetrics struct {
	answered [len(classes)]prometheus.Counter // by class
	seconds  func() prometheus.Observer       // makes the series at its first call
}

// newMetrics registers with reg, or nowhere when that is nil. The values of labels are the paths of routes and
// otherRoute, classes, and streamEnds, and no others.
func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{requests: map[*routes.Route]*requestMetrics{}}
	f := promauto.With(reg)
	requests := f.NewCounterVec(prometheus.CounterOpts{
		Name: "weft_http_requests_total",
		Help: "Requests answered, by route and by class of status; class gone: the client left before the answer.",
	}, []string{"route", "class"})
	seconds := f.NewHistogramVec(prometheus.HistogramOpts{
		Name: "weft_http_request_seconds",
		Help: "Time from a request's headers to the end of its answer, by route.",
		// Bounds from a lookup in memory to the default timeout, in steps of about three.
		Buckets: []float64{.0003, .001, .003, .01, .03, .1, .3, 1, 3, 10},
	}, []string{"route"})
	m.panics = f.NewCounter(prometheus.CounterOpts{
		Name: "weft_http_panics_total",
		Help: "Handlers that panicked: each is a bug, with its stack in the log output.",
	})
	m.subscribers = f.NewGaugeVec(prometheus.GaugeOpts{
		Name: "weft_stream_subscribers",
		Help: "Subscribers of the live stream, by kind: websocket, events.",
	}, []string{"kind"})
	m.frames = f.NewCounter(prometheus.CounterOpts{
		Name: "weft_stream_frames_total",
		Help: "Frames and events sent to subscribers.",
	})
	m.ended = f.NewCounterVec(prometheus.CounterOpts{
		Name: "weft_stream_ended_total",
		Help: "Subscriptions that ended, by reason; Gone: the client left.",
	}, []string{"reason"})
	// Every series exists before its first event: rate() misses the first event of a series that appears with it.
	for _, route := range append([]*routes.Route{nil}, routes.All...) {
		label := otherRoute
		if route != nil {
			label = route.Path
		}
		of := &requestMetrics{seconds: sync.OnceValue(func() prometheus.Observer { return seconds.WithLabelValues(label) })}
		for i, class := range classes {
			of.answered[i] = requests.WithLabelValues(label, class)
		}
		m.requests[route] = of
	}
	for _, kind := range []string{"websocket", "events"} {
		m.subscribers.WithLabelValues(kind)
	}
	for _, reason := range streamEnds {
		m.ended.WithLabelValues(reason)
	}
	return m
}

// streamEnds are the reasons why subscriptions end.
var streamEnds = []string{"Gone", "ConsumerTooSlow", "HalfOpen", "BadMessage", "ShuttingDown", "FutureCursor",
	"OutdatedCursor"}

// classes are the classes of a status; classOf picks one.
var classes = [...]string{"1xx", "2xx", "3xx", "4xx", "5xx", "gone"}

// classGone is the index of the last of them.
const classGone = len(classes) - 1

// closed counts the end of a subscription.
func (m *metrics) closed(reason string) { m.ended.WithLabelValues(reason).Inc() }

// request counts a request that a route answered; nil: no route.
func (m *metrics) request(route *routes.Route, class int, took time.Duration) {
	of := m.requests[route]
	of.answered[class].Inc()
	if route != nil && route.Stream != "" {
		return // streams last as long as clients stay
	}
	of.seconds().Observe(took.Seconds())
}

// registerTop registers the metrics of the counter of getTop.
func registerTop(reg prometheus.Registerer, c *top.Counter) {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weft_top_targets",
		Help: "Targets whose new links are counted for getTop, by hour and kind of link.",
	}, func() float64 { return float64(c.Status().Targets) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weft_top_memory_bytes",
		Help: "Memory of the counts of getTop.",
	}, func() float64 { return float64(c.Status().Memory) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weft_top_span_seconds",
		Help: "Span that getTop counts: a day; less while it reads the log after a start, or if the log is shorter.",
	}, func() float64 { return c.Status().Span.Seconds() })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weft_top_age_seconds",
		Help: "Time since getTop last counted the whole log.",
	}, func() float64 { return c.Status().Age.Seconds() })
}
