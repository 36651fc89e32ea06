package api

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// corkedWriter hands a connection over that can gather what is written: a WebSocket flushes each message, and a call into the
// system for each of a hundred thousand messages a second is most of what they cost.
type corkedWriter struct {
	http.ResponseWriter
	conn atomic.Pointer[corkedConn]
}

// Hijack is http.Hijacker's.
func (w *corkedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	c := &corkedConn{Conn: conn}
	w.conn.Store(c)
	// Messages are mostly below a kB; longer ones go in parts.
	return c, bufio.NewReadWriter(rw.Reader, bufio.NewWriterSize(c, 1<<10)), nil
}

// corkedConn is a connection whose writes end, and can be gathered.
type corkedConn struct {
	net.Conn
	allowance
	flooded func() // is told of too many pings; set before the first is read

	mu      sync.Mutex
	corked  bool
	buf     []byte
	stalled bool
}

// Write is net.Conn's.
func (c *corkedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.corked {
		return c.send(p)
	}
	c.buf = append(c.buf, p...)
	if len(c.buf) >= corkBytes {
		return len(p), c.sendBuf()
	}
	return len(p), nil
}

// pinged says whether to answer a ping.
func (c *corkedConn) pinged() bool {
	ok := c.allow()
	if !ok {
		c.flooded()
	}
	return ok
}

// hold gathers what is written until flush.
func (c *corkedConn) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = true
}

// flush sends what was gathered. An idle subscriber keeps no memory for it.
func (c *corkedConn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = false
	err := c.sendBuf()
	if cap(c.buf) > 2<<10 {
		c.buf = nil
	}
	return err
}

func (c *corkedConn) sendBuf() error {
	if len(c.buf) == 0 {
		return nil
	}
	_, err := c.send(c.buf)
	c.buf = c.buf[:0]
	return err
}

func (c *corkedConn) send(p []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(writeWait))
	n, err := c.Conn.Write(p)
	c.stalled = c.stalled || errors.Is(err, os.ErrDeadlineExceeded)
	return n, err
}

// why says what a failed write came from.
func (c *corkedConn) why(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stalled {
		return errStalled
	}
	return err
}
