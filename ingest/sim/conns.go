package sim

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/coder/websocket"
)

// frame appends a websocket frame of a server: final, unmasked (RFC 6455, section 5.2).
func (c *subscriber) frame(payload []byte) {
	c.buf = appendFrame(c.buf, c.wire.zstd(), payload)
}

func appendFrame(b []byte, binaryFrame bool, payload []byte) []byte {
	op := byte(0x81)
	if binaryFrame {
		op = 0x82
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, op, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, op, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, op, 127), uint64(n))
	}
	return append(b, payload...)
}

// flush writes the buffer in one call, so that frames of the websocket library, pongs and close frames, are between
// frames and not within one.
func (c *subscriber) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	if err := c.raw.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := c.raw.Write(c.buf)
	c.buf = c.buf[:0]
	// The connection's other writer answers pings, so the deadline applies to this write only.
	return errors.Join(err, c.raw.SetWriteDeadline(time.Time{}))
}

// join adds a subscriber; false if the server is closing.
func (s *Server) join(c *subscriber) bool {
	s.conns.Lock()
	defer s.conns.Unlock()
	if s.stopped {
		return false
	}
	s.open[c] = struct{}{}
	s.wg.Add(1)
	s.connected.Add(1)
	return true
}

func (s *Server) leave(c *subscriber) {
	s.conns.Lock()
	delete(s.open, c)
	s.conns.Unlock()
	s.wg.Done()
}

func (s *Server) subscribers() []*subscriber {
	s.conns.Lock()
	defer s.conns.Unlock()
	out := make([]*subscriber, 0, len(s.open))
	for c := range s.open {
		out = append(out, c)
	}
	return out
}

// closeSubscribers closes all streams with a close frame and admits no more.
func (s *Server) closeSubscribers() {
	s.conns.Lock()
	s.stopped = true
	s.conns.Unlock()
	for _, c := range s.subscribers() {
		go func() {
			_ = c.conn.Close(websocket.StatusGoingAway, "server shutting down") // waits for the peer up to 5 s
			c.cancel()
		}()
	}
}
