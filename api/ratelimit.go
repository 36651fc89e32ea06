package api

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// rateLimit gives each address so many requests a minute, all of which it may use at once.
type rateLimit struct {
	perMinute int
	now       func() time.Time

	mu         sync.Mutex
	young, old map[string]*bucket
}

// bucket is what an address has left, as of a time.
type bucket struct {
	left float64
	at   time.Time
}

// rateAddresses bounds the memory, to some 20 MB: of more addresses within a minute, those that were quiet begin anew.
const rateAddresses = 100_000

// take takes one request of an address, and says how many are left, and in how many seconds all are back.
func (l *rateLimit) take(address string) (ok bool, left, reset int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, rate := l.now(), float64(l.perMinute)/60
	b := l.young[address]
	if b == nil {
		if b = l.old[address]; b == nil {
			b = &bucket{left: float64(l.perMinute), at: now}
		}
		if l.young == nil || len(l.young) >= rateAddresses {
			l.young, l.old = map[string]*bucket{}, l.young
		}
		l.young[address] = b
	}
	b.left = min(b.left+max(now.Sub(b.at).Seconds(), 0)*rate, float64(l.perMinute))
	b.at = now
	if ok = b.left >= 1; ok {
		b.left--
	}
	return ok, int(b.left), int(math.Ceil((float64(l.perMinute) - b.left) / rate))
}

// limitRates refuses an address what is beyond its rate. Whether the service lives is anybody's to ask.
func (s *server) limitRates(next http.Handler) http.Handler {
	if s.RatePerMinute <= 0 {
		return next
	}
	limit := &rateLimit{perMinute: s.RatePerMinute, now: s.Now}
	policy := strconv.Itoa(s.RatePerMinute) + ";w=60"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/xrpc/_health" || r.URL.Path == "/readyz" {
			next.ServeHTTP(w, r)
			return
		}
		ok, left, reset := limit.take(s.address(r))
		h := w.Header()
		h.Set("RateLimit-Limit", strconv.Itoa(s.RatePerMinute))
		h.Set("RateLimit-Remaining", strconv.Itoa(left))
		h.Set("RateLimit-Reset", strconv.Itoa(reset))
		h.Set("RateLimit-Policy", policy)
		if !ok {
			h.Set("Retry-After", strconv.Itoa(int(math.Ceil(60/float64(s.RatePerMinute)))))
			writeFailure(w, r, &failure{http.StatusTooManyRequests, "RateLimitExceeded", "too many requests of this address: wait, or ask for more at once"})
			return
		}
		next.ServeHTTP(w, r)
	})
}
