package api

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"weft.dev/weft/api/budget"
	"weft.dev/weft/api/routes"
)

// rateLimit allows each host perMinute requests a minute, all at once if necessary, and each network budget.Wide times
// as many.
type rateLimit struct {
	perMinute int
	now       func() time.Time

	mu         sync.Mutex
	young, old map[string]*bucket
}

// bucket is the remaining requests of a host or a network at one time.
type bucket struct {
	left float64
	at   time.Time
}

// rateAddresses limits the memory to some 20 MB: with more addresses in a minute, the least recent ones start with a
// full bucket again.
const rateAddresses = 100_000

// take counts a request of a client. It returns the number of requests left, and the seconds until the bucket is full.
func (l *rateLimit) take(who budget.Client) (ok bool, left, reset int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	host := l.bucket(who.Host, float64(l.perMinute))
	net := &bucket{left: math.MaxInt32}
	if who.Net != who.Host {
		net = l.bucket(who.Net, float64(budget.Wide*l.perMinute))
	}
	ok = host.left >= 1 && net.left >= 1
	if ok {
		host.left--
		net.left--
	}
	rate := float64(l.perMinute) / 60
	reset = int(math.Ceil((float64(l.perMinute) - host.left) / rate))
	return ok, int(min(host.left, net.left)), reset
}

// bucket returns the bucket of a key, filled up to now.
func (l *rateLimit) bucket(key string, perMinute float64) *bucket {
	now := l.now()
	b := l.young[key]
	if b == nil {
		b = l.old[key]
		if b == nil {
			b = &bucket{left: perMinute, at: now}
		}
		if l.young == nil || len(l.young) >= rateAddresses {
			l.young, l.old = map[string]*bucket{}, l.young
		}
		l.young[key] = b
	}
	b.left = min(b.left+max(now.Sub(b.at).Seconds(), 0)*perMinute/60, perMinute)
	b.at = now
	return b
}

// limitRates refuses requests above the rate of a client. Health checks have no limit.
func (s *server) limitRates(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route := routes.At(r.URL.Path)
		if route != nil && route.Unlimited || s.admit(w, r) {
			next.ServeHTTP(w, r)
		}
	})
}

// admit counts a request against the rate of its client. It returns false if it has refused the request.
func (s *server) admit(w http.ResponseWriter, r *http.Request) bool {
	if s.rate == nil {
		return true
	}
	ok, left, reset := s.rate.take(s.clients.Of(r))
	h := w.Header()
	h.Set("RateLimit-Limit", strconv.Itoa(s.RatePerMinute))
	h.Set("RateLimit-Remaining", strconv.Itoa(left))
	h.Set("RateLimit-Reset", strconv.Itoa(reset))
	h.Set("RateLimit-Policy", strconv.Itoa(s.RatePerMinute)+";w=60")
	if !ok {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(60/float64(s.RatePerMinute)))))
		writeFailure(w, r, newFailure(http.StatusTooManyRequests, "RateLimitExceeded",
			"too many requests from this client address: wait, or ask for more per request"))
	}
	return ok
}
