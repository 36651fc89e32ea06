package web

import (
	"context"
	"net/http"
)

// Limits limit the resources of one client. api.Server implements them, so that pages and the API share the budgets.
type Limits interface {
	// Admit counts a request outside the API against the rate of its client. It answers the request and returns false
	// if the limit is reached.
	Admit(w http.ResponseWriter, r *http.Request) bool
	// AdmitStream is Admit for a live stream, which counts against the limit of subscribers until release is called. It
	// returns nil if it has refused the request.
	AdmitStream(w http.ResponseWriter, r *http.Request) (release func())
	// Page waits for a slot of a page.
	Page(r *http.Request) (done func(), err error)
	// Render waits for a slot of rendering.
	Render(r *http.Request) (done func(), err error)
	// Hold reserves the bytes of an answer that is about to be written. It returns false if too many answers wait for
	// their clients.
	Hold(r *http.Request, size int) (done func(), ok bool)
}

// unlimited implements Limits without limits, for tests.
type unlimited struct{}

func nothing() {}

func (unlimited) Admit(http.ResponseWriter, *http.Request) bool { return true }

func (unlimited) AdmitStream(http.ResponseWriter, *http.Request) (release func()) { return nothing }

func (unlimited) Page(*http.Request) (done func(), err error) { return nothing, nil }

func (unlimited) Render(*http.Request) (done func(), err error) { return nothing, nil }

func (unlimited) Hold(*http.Request, int) (done func(), ok bool) { return nothing, true }

// renderPermit is a page's slot of rendering. It is released while the page queries the API, which has semaphores of
// its own, and taken again afterwards. It is not safe for concurrent use.
type renderPermit struct {
	limits  Limits
	request *http.Request
	done    func() // nil: not held
}

// take waits for the permit.
func (t *renderPermit) take() (err error) {
	t.done, err = t.limits.Render(t.request)
	return err
}

// give releases the permit if it is held.
func (t *renderPermit) give() {
	if t != nil && t.done != nil {
		t.done()
		t.done = nil
	}
}

type permitKey struct{}

// permitOf returns the permit that a request is rendered with; nil: none.
func permitOf(ctx context.Context) *renderPermit {
	t, _ := ctx.Value(permitKey{}).(*renderPermit)
	return t
}

// servePage renders a page with a permit, compresses it as the visitor accepts, and writes it after the permit is
// released: a slow reader delays no other visitor.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), pageTimeout)
	defer cancel()
	r = r.WithContext(ctx)
	done, err := s.Limits.Page(r)
	if err != nil {
		s.tooBusy(w)
		return
	}
	defer done()
	permit := &renderPermit{limits: s.Limits, request: r}
	defer permit.give()
	if err := permit.take(); err != nil {
		s.tooBusy(w)
		return
	}
	page := &recorder{header: w.Header()}
	s.drawn.ServeHTTP(page, r.WithContext(context.WithValue(ctx, permitKey{}, permit)))
	permit.give()
	given, ok := s.Limits.Hold(r, page.body.Len())
	if !ok {
		for _, name := range []string{"Content-Encoding", "Content-Length", "ETag"} {
			w.Header().Del(name)
		}
		s.tooBusy(w)
		return
	}
	defer given()
	w.WriteHeader(max(page.status, http.StatusOK))
	_, _ = w.Write(page.body.Bytes()) // fails only when the visitor has left
}

// tooBusy answers instead of a page when no slot is free. It is plain text: a page would need a permit.
func (s *Server) tooBusy(w http.ResponseWriter) {
	h := w.Header()
	protect(h)
	h.Set("Retry-After", "1") // seconds, the header's minimum
	h.Set("Cache-Control", "no-store")
	http.Error(w, "the server is busy: try again in a moment", http.StatusServiceUnavailable)
}

// admit counts a page without a query of the API. It answers with an error page and returns false if the visitor's rate
// is exceeded.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) bool {
	refusal := &recorder{header: http.Header{}}
	ok := s.Limits.Admit(refusal, r)
	a := &answer{server: s, request: r, status: refusal.status, header: refusal.header, body: refusal.body.Bytes()}
	a.keepHeaders(w)
	if !ok {
		s.fail(w, r, a)
	}
	return ok
}
