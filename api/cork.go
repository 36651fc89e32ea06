package api

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// corkedWriter hijacks a connection that can gather writes. A WebSocket flushes each message, and at a hundred
// thousand messages a second the system calls are most of their cost.
type corkedWriter struct {
	http.ResponseWriter
	conn atomic.Pointer[corkedConn]
}

// Hijack implements http.Hijacker.
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

const (
	// closeWait limits the read of a connection during close: coder/websocket waits as long for the peer's close frame,
	// but without limit for the rest of a frame before it.
	closeWait = 5 * time.Second
	// closeBytes limits the bytes before the peer's close frame. coder/websocket searches it byte by byte, and 5 MB
	// would take 20 ms of a core. A refused message is skipped earlier.
	closeBytes = 64 << 10
)

// corkedConn is a connection with write timeouts whose writes can be gathered. During close, its reads end too.
type corkedConn struct {
	net.Conn
	tokenBucket
	flooded func() // called for too many pings; set before the first read

	closed    atomic.Bool // it is being closed
	closeRead int         // bytes read since then

	mu      sync.Mutex
	corked  bool
	buf     []byte
	stalled bool
}

// closing limits further reads: closeBytes within closeWait. It skips the rest, up to the length of a message, so that
// the peer can read the reason of the close.
func (c *corkedConn) closing() {
	c.closed.Store(true)
	_ = c.SetReadDeadline(time.Now().Add(closeWait))
}

// Read implements net.Conn.
func (c *corkedConn) Read(p []byte) (int, error) {
	if c.closeRead >= closeBytes {
		_, _ = io.CopyN(io.Discard, c.Conn, maxMessage)
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p)
	if c.closed.Load() {
		c.closeRead += n
	}
	return n, err
}

// Write implements net.Conn.
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

// pinged reports whether to answer a ping.
func (c *corkedConn) pinged() bool {
	ok := c.allow()
	if !ok {
		c.flooded()
	}
	return ok
}

// hold gathers writes until flush.
func (c *corkedConn) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = true
}

// flush sends the gathered writes. An idle subscriber keeps no memory for them.
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

// why returns the cause of a failed write.
func (c *corkedConn) why(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stalled {
		return errStalled
	}
	return err
}
