package web

import (
	"context"
	"net/http"
)

// Limits bound what one client takes of the server. api.Server has them, so that pages and the API count together.
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
	// Hold takes the bytes of an answer that is about to be written; false: too many answers wait for their clients.
	Hold(r *http.Request, size int) (done func(), ok bool)
}

// unlimited is for a server without limits, as tests have it.
type unlimited struct{}

func nothing() {}

func (unlimited) Admit(http.ResponseWriter, *http.Request) bool { return true }

func (unlimited) AdmitStream(http.ResponseWriter, *http.Request) (release func()) { return nothing }

func (unlimited) Page(*http.Request) (done func(), err error) { return nothing, nil }

func (unlimited) Render(*http.Request) (done func(), err error) { return nothing, nil }

func (unlimited) Hold(*http.Request, int) (done func(), ok bool) { return nothing, true }

// drawingTurn is the turn of a page that is drawn. It is given back while the page asks the API, which has turns of its
// own, and taken again afterwards. It is for one goroutine.
type drawingTurn struct {
	limits  Limits
	request *http.Request
	done    func() // nil: it is given back
}

// take waits for the turn.
func (t *drawingTurn) take() (err error) {
	t.done, err = t.limits.Render(t.request)
	return err
}

// give gives the turn back, if it is held.
func (t *drawingTurn) give() {
	if t != nil && t.done != nil {
		t.done()
		t.done = nil
	}
}

type turnKey struct{}

// turnOf is the turn that a request is drawn in; nil: in none.
func turnOf(ctx context.Context) *drawingTurn {
	t, _ := ctx.Value(turnKey{}).(*drawingTurn)
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
	turn := &drawingTurn{limits: s.Limits, request: r}
	defer turn.give()
	if err := turn.take(); err != nil {
		s.tooBusy(w)
		return
	}
	page := &recorder{header: w.Header()}
	s.drawn.ServeHTTP(page, r.WithContext(context.WithValue(ctx, turnKey{}, turn)))
	turn.give()
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

// tooBusy answers in place of a page for which there is no room. It is a text, as there is no turn to draw anything.
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
