package upstream

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Refused is the error for an answer without the requested content.
type Refused struct {
	Status int
	Wait   time.Duration // to wait before the next request, from Retry-After; 0: not given
}

func (e *Refused) Error() string {
	return fmt.Sprintf("it answers %d %s", e.Status, http.StatusText(e.Status))
}

// Final reports whether a repeat of the request gets the same answer.
func (e *Refused) Final() bool { return e.Status < 500 && e.Status != http.StatusTooManyRequests }

// maxRetryAfter bounds Retry-After.
const maxRetryAfter = 15 * time.Minute

// refused returns the Refused of an answer. Retry-After is a number of seconds or an HTTP date.
func refused(res *http.Response) error {
	e := &Refused{Status: res.StatusCode}
	text := res.Header.Get("Retry-After")
	seconds, err := strconv.Atoi(text)
	if err == nil && seconds > 0 {
		e.Wait = min(time.Duration(seconds)*time.Second, maxRetryAfter)
		return e
	}
	at, err := http.ParseTime(text)
	if err == nil {
		e.Wait = min(max(time.Until(at), 0), maxRetryAfter)
	}
	return e
}

// Sleep waits for d. It returns false if ctx ends first.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
