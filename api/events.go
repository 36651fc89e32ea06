package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"weft.dev/weft/api/stream"
	"weft.dev/weft/db"
)

// sseBeat is how often a stream with nothing to say shows that it is there: below the idle limit of a proxy, which is mostly a
// minute.
const sseBeat = 20 * time.Second

// subscribeEvents serves /events.
func (s *server) subscribeEvents(w http.ResponseWriter, r *http.Request) {
	p := parseQuery(definitions.At("/events"), r.URL.RawQuery)
	// A browser that comes back sends the same address again, and where it was in a header.
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		p.text("cursor")
		p.raw["cursor"] = nil
		if cursor := p.streamCursor("Last-Event-ID", last); p.err == nil {
			s.events(w, r, p, cursor)
			return
		}
	}
	s.events(w, r, p, nil)
}

func (s *server) events(w http.ResponseWriter, r *http.Request, p *params, cursor *uint64) {
	hydrate := p.flag("hydrate")
	sub, err := s.subscribe(r.Context(), p, stream.Options{Cursor: cursor})
	if err != nil {
		writeFailure(w, r, s.failureOf(r.Context(), r, err))
		return
	}
	defer sub.Close()
	leave := s.seat(w, r)
	if leave == nil {
		return
	}
	defer leave()
	s.metrics.subscribers.WithLabelValues("events").Inc()
	defer s.metrics.subscribers.WithLabelValues("events").Dec()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", cacheNever)
	h.Set("X-Accel-Buffering", "no") // what nginx needs to be told
	s.metrics.closed(s.writeEvents(w, r, sub, hydrate))
}

// writeEvents writes until something ends it, and returns what, for the metrics.
func (s *server) writeEvents(w http.ResponseWriter, r *http.Request, sub *stream.Subscription, hydrate bool) (reason string) {
	out := http.NewResponseController(w)
	send := func(b []byte) error {
		if err := out.SetWriteDeadline(time.Now().Add(writeWait)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		return out.Flush()
	}
	buf := appendPlace(nil, sub) // so that a client sees at once that it is in
	var wanted []int
	for {
		if err := send(buf); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return "ConsumerTooSlow"
			}
			return "Gone"
		}
		buf = buf[:0]
		if cap(buf) > 4<<10 {
			buf = nil
		}
		for len(buf) == 0 {
			events, err := sub.Next(r.Context(), sseBeat)
			if f := streamFailure(err); f != nil {
				data, _ := json.Marshal(struct {
					Kind string `json:"kind"`
					*failure
				}{"end", f})
				_ = send(append(append(append(buf, "event: end\ndata: "...), data...), "\n\n"...))
				return f.Name
			} else if err != nil {
				if r.Context().Err() == nil {
					s.Logger.Error("stream failed", "path", r.URL.Path, "err", err)
				}
				return "Gone"
			}
			if events == nil {
				buf = appendPlace(buf, sub)
			}
			var contents map[*stream.Event]content
			if hydrate {
				if contents, err = s.eventContents(r.Context(), sub, events); err != nil {
					if r.Context().Err() == nil {
						s.Logger.Error("stream failed", "path", r.URL.Path, "err", err)
					}
					return "Gone"
				}
			}
			for _, e := range events {
				var account bool
				wanted, account = sub.Wanted(e, wanted[:0])
				if account || len(wanted) > 0 || contents[e].Value != nil {
					buf = appendEvent(buf, e, wanted, contents[e], sub.Replay(e.Seq))
					s.metrics.frames.Inc()
				}
			}
		}
	}
}

// eventContents reads the content of the records of wanted events, as it is now. An update is wanted too that leaves every
// wanted link of its record as it is: the content is new.
func (s *server) eventContents(ctx context.Context, sub *stream.Subscription, events []*stream.Event) (map[*stream.Event]content, error) {
	var of []*stream.Event
	for _, e := range events {
		links, _ := sub.Wanted(e, nil)
		wanted := len(links) > 0 && e.Op != db.OpDelete
		if len(links) == 0 && e.Op == db.OpUpdate {
			var err error
			wanted, err = sub.WantsAny(e, func() ([]db.Link, error) {
				return s.Store.RecordLinks(ctx, db.Record{DID: e.DID, Collection: e.Collection, Rkey: e.Rkey})
			})
			if err != nil {
				return nil, err
			}
		}
		if wanted {
			of = append(of, e)
		}
	}
	contents := make(map[*stream.Event]content, len(of))
	for some := range slices.Chunk(of, db.MaxBodies) {
		records := make([]db.Record, len(some))
		for i, e := range some {
			records[i] = db.Record{DID: e.DID, Collection: e.Collection, Rkey: e.Rkey}
		}
		found, err := s.contents(ctx, true, records)
		if err != nil {
			return nil, err
		}
		for i, e := range some {
			contents[e] = found[i]
		}
	}
	return contents, nil
}

// appendPlace says where the stream is: an event without data, of which a browser tells nobody and keeps the id. So a client
// loses nothing that comes before its first event, and one that wants little needn't go through all again.
func appendPlace(dst []byte, sub *stream.Subscription) []byte {
	dst = append(dst, "id: "...)
	dst = strconv.AppendUint(dst, sub.Cursor(), 10)
	return append(dst, "\n\n"...)
}
