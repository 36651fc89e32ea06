package web

import (
	"context"
	"net/http"
)

// Limits bound the resources that one client takes of the server. api.Server implements them, so that pages and the API count
// together.
type Limits interface {
	// Admit counts a request that is not the API's against the rate of its client. It answers, and returns false, where
	// that is spent.
	Admit(w http.ResponseWriter, r *http.Request) bool
	// AdmitStream is Admit for a live stream, which counts against the limit of subscribers until release is called. It
	// returns nil if it has refused the request.
	AdmitStream(w http.ResponseWriter, r *http.Request) (release func())
	// Page waits until a page may be begun.
	Page(r *http.Request) (done func(), err error)
	// Render waits until a page may be rendered.
	Render(r *http.Request) (done func(), err error)
	// Hold reserves the bytes of an answer that is about to be written. It returns false if too many answers wait for their clients.
	Hold(r *http.Request, size int) (done func(), ok bool)
}

// unlimited is a server without limits, for tests.
type unlimited struct{}

func nothing() {}

func (unlimited) Admit(http.ResponseWriter, *http.Request) bool { return true }

func (unlimited) AdmitStream(http.ResponseWriter, *http.Request) (release func()) { return nothing }

func (unlimited) Page(*http.Request) (done func(), err error) { return nothing, nil }

func (unlimited) Render(*http.Request) (done func(), err error) { return nothing, nil }

func (unlimited) Hold(*http.Request, int) (done func(), ok bool) { return nothing, true }

// renderPermit is a page's place in the semaphore of pages that are rendered. It is released while the page asks the API,
// which has semaphores of its own, and taken again afterwards. It is for one goroutine.
type renderPermit struct {
	limits  Limits
	request *http.Request
	done    func() // nil: it is given back
}

// take waits for the permit.
func (t *renderPermit) take() (err error) {
	t.done, err = t.limits.Render(t.request)
	return err
}

// give gives the place back, if it is held.
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

// servePage draws a page in turns, compressed as the visitor takes it, and writes it when it is whole and no turn is
// held any more: a visitor who reads slowly holds up nobody else.
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
	_, _ = w.Write(page.body.Bytes()) // it fails only when the visitor has left
}

// tooBusy answers in place of a page for which there is no room. It is a text: a page would need a permit.
func (s *Server) tooBusy(w http.ResponseWriter) {
	h := w.Header()
	protect(h)
	h.Set("Retry-After", "1") // seconds: the least that the header can say
	h.Set("Cache-Control", "no-store")
	http.Error(w, "the server is busy: try again in a moment", http.StatusServiceUnavailable)
}

// admit counts a page that asks the API nothing. It answers with a page, and returns false, where the visitor's rate is
// spent.
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
