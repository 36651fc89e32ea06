package sim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

const (
	// cursorIsTime: a cursor from this on is a time in unix µs, below it a seq. 10^15 µs is in 2001, and no server has
	// 10^15 events.
	cursorIsTime = 1_000_000_000_000_000

	// writeTimeout is the time after which a subscriber with a pending write of up to flushAt bytes is dropped, as on
	// the real server.
	writeTimeout = 5 * time.Second

	// flushAt is the size in bytes from which frames are written; several frames share one system call.
	flushAt = 64 << 10

	// pingEvery keeps idle connections alive through proxies, as on the real server.
	pingEvery = 30 * time.Second
)

// subscriber is one open stream.
type subscriber struct {
	s      *Server
	conn   *websocket.Conn // for reads and the close frame
	raw    net.Conn        // for writes: whole frames, many at a time
	cancel context.CancelFunc
	filter *filter
	wire   wire
	cursor uint64 // next seq to send
	drops  int64  // number of DropAll calls before the request
	buf    []byte
}

func (s *Server) subscribeV2(w http.ResponseWriter, r *http.Request) {
	drops := s.drops.Load()
	if status, retry := s.faults.upgrade(); status != 0 {
		refuse(w, status, retry)
		return
	}
	q := r.URL.Query()
	f, err := queryFilter(q, false)
	if err != nil {
		badRequest(w, err.Error())
		return
	}
	c := &subscriber{s: s, filter: f, wire: wireV2, drops: drops}
	if dict := q.Get("zstdDictionary"); dict != "" {
		if dict != strconv.Itoa(v2DictionaryID) {
			xrpcError(w, http.StatusBadRequest, "UnknownZstdDictionary",
				fmt.Sprintf("unknown zstd dictionary id %s; current dictionary id is %d", dict, v2DictionaryID))
			return
		}
		c.wire = wireV2Zstd
	}
	clamped, err := c.start(q.Get("cursor"), false)
	switch {
	case errors.Is(err, errTooOld):
		xrpcError(w, http.StatusBadRequest, "CursorTooOld", err.Error())
		return
	case err != nil:
		badRequest(w, err.Error())
		return
	}
	var protocols []string
	if strings.Contains(r.Header.Get("Sec-WebSocket-Protocol"), "xrpc.v1.json") {
		protocols = []string{"xrpc.v1.json"}
	}
	var first []byte
	if clamped {
		first = []byte(`{"$type":"message","payload":{"$type":"` + v2Types +
			`#info","name":"OutdatedCursor","message":"starting at seq ` + strconv.FormatUint(c.cursor, 10) + `"}}`)
	}
	c.serve(w, r, protocols, first)
}

func (s *Server) subscribeV1(w http.ResponseWriter, r *http.Request) {
	drops := s.drops.Load()
	if status, retry := s.faults.upgrade(); status != 0 {
		refuse(w, status, retry)
		return
	}
	q := r.URL.Query()
	f, err := queryFilter(q, true)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c := &subscriber{s: s, filter: f, wire: wireV1, drops: drops}
	if q.Get("compress") == "true" || strings.Contains(r.Header.Get("Socket-Encoding"), "zstd") {
		c.wire = wireV1Zstd
	}
	if _, err := c.start(q.Get("cursor"), true); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.serve(w, r, nil, nil)
}

var errTooOld = errors.New("sim: cursor too old")

// start resolves the cursor. Without one, and with one in the future, the stream begins after the tip. clamped reports
// that a time was raised to the oldest available event.
func (c *subscriber) start(raw string, v1 bool) (clamped bool, err error) {
	_, tip := c.s.log.bounds()
	c.cursor = tip + 1
	if raw == "" {
		return false, nil
	}
	n, err := strconv.ParseInt(raw, 10, 64)
	if err != nil || n < 0 {
		return false, fmt.Errorf("sim: invalid cursor %q", raw)
	}
	byTime := n >= cursorIsTime || v1 && c.s.cfg.NoV2
	seq := uint64(n)
	if byTime {
		seq, err = c.s.log.seqAt(n)
		if err != nil {
			return false, err
		}
	}
	if seq > tip {
		return false, nil
	}
	seq = max(seq, 1)
	floor := uint64(1)
	if back := uint64(max(c.s.cfg.Lookback, 0)); back > 0 && tip > back {
		floor = tip - back + 1
	}
	if seq < floor {
		if !byTime && !v1 {
			return false, fmt.Errorf("%w: cursor %d below lookback floor %d", errTooOld, seq, floor)
		}
		seq = floor
		clamped = true
	}
	if back := uint64(max(c.s.faults.get().ClampTo, 0)); back > 0 && tip > back {
		seq = max(seq, tip-back+1)
	}
	c.cursor = seq
	return clamped, nil
}

// hijacker keeps the connection that the websocket hijacks.
type hijacker struct {
	http.ResponseWriter
	conn net.Conn
}

func (h *hijacker) Hijack() (conn net.Conn, rw *bufio.ReadWriter, err error) {
	conn, rw, err = http.NewResponseController(h.ResponseWriter).Hijack()
	h.conn = conn
	return conn, rw, err
}

// serve upgrades the connection and sends events until one side closes it.
func (c *subscriber) serve(w http.ResponseWriter, r *http.Request, protocols []string, first []byte) {
	h := &hijacker{ResponseWriter: w}
	conn, err := websocket.Accept(h, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: protocols})
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context())) // a hijacked request's context ends by itself
	defer cancel()
	c.conn = conn
	c.raw = h.conn
	c.cancel = cancel
	if !c.s.join(c) {
		_ = conn.Close(websocket.StatusGoingAway, "server shutting down")
		return
	}
	defer c.s.leave(c)
	if c.drops != c.s.drops.Load() {
		return // DropAll ran between the request and join, and missed this subscriber
	}
	if c.wire.v1() {
		go c.discard(ctx)
	} else {
		ctx = conn.CloseRead(ctx)
	}
	if first != nil {
		c.frame(c.s.codec.compress(first, c.wire))
	}
	if err := c.run(ctx); err != nil && ctx.Err() == nil {
		c.s.logger.Info("sim: subscriber ended", "err", err)
	}
}

// discard reads and drops messages of a v1 client: option updates, which this server doesn't support.
func (c *subscriber) discard(ctx context.Context) {
	defer c.cancel()
	for {
		if _, _, err := c.conn.Read(ctx); err != nil {
			return
		}
	}
}

// run sends events from the cursor on.
func (c *subscriber) run(ctx context.Context) error {
	for {
		if err := c.s.faults.stall(ctx); err != nil {
			return err
		}
		idle, done := context.WithTimeout(ctx, pingEvery)
		entries, err := c.s.log.read(idle, c.cursor)
		done()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			c.buf = append(c.buf, 0x89, 0) // an empty ping
		case err != nil:
			return err
		}
		for _, e := range entries {
			if err := c.send(ctx, e); err != nil {
				return err
			}
		}
		if err := c.flush(); err != nil {
			return err
		}
	}
}

// send appends one event to the buffer and may write it.
func (c *subscriber) send(ctx context.Context, e *entry) error {
	c.cursor = e.Seq + 1
	if c.wire.v1() && (e.Kind == KindSync || e.Resync) || !c.filter.wants(&e.Event) {
		return nil
	}
	frame, size, err := c.s.codec.frame(e, c.wire)
	if err != nil {
		return err
	}
	if c.filter.maxSize > 0 && size > c.filter.maxSize {
		return nil
	}
	if err := c.s.faults.strike(ctx, c, frame); err != nil {
		return err
	}
	if len(c.buf) >= flushAt {
		return c.flush()
	}
	return nil
}
