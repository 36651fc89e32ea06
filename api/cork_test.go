package api

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// pipeWriter is a ResponseWriter whose connection is one end of a net.Pipe.
type pipeWriter struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (w *pipeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

// acceptPipe accepts a WebSocket on one end of a pipe. The peer end reads and drops everything that it receives.
func acceptPipe(t *testing.T) (c *socket, peer net.Conn) {
	t.Helper()
	server, peer := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, peer) }()
	r := httptest.NewRequest("GET", "/subscribe", nil)
	for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
		r.Header.Set(k, v)
	}
	cork := &corkedWriter{ResponseWriter: &pipeWriter{httptest.NewRecorder(), server}}
	conn, err := websocket.Accept(cork, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(maxMessage)
	return &socket{Conn: conn, cork: cork.conn.Load()}, peer
}

// frameHeader returns the header of a masked frame of a length, with a zero mask.
func frameHeader(op byte, length uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{0x80 | op, 0x80 | 127}, length), 0, 0, 0, 0)
}

// TestCloseEnds: a closing connection ends within closeWait and reads at most closeBytes byte by byte, whatever the
// peer sends.
func TestCloseEnds(t *testing.T) {
	t.Parallel()
	const endless = 1<<62 - 1
	for name, send := range map[string]func(peer net.Conn, until time.Time){
		"nothing": func(net.Conn, time.Time) {},
		"a byte each second of a frame that never ends": func(peer net.Conn, until time.Time) {
			_, err := peer.Write(frameHeader(1, endless))
			for ; err == nil && time.Now().Before(until); time.Sleep(time.Second) {
				_, err = peer.Write([]byte{0})
			}
		},
		"all it can of a frame that never ends": func(peer net.Conn, until time.Time) {
			_, err := peer.Write(frameHeader(1, endless))
			for part := make([]byte, 256<<10); err == nil && time.Now().Before(until); {
				_, err = peer.Write(part)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, peer := acceptPipe(t)
				var sent sync.WaitGroup
				sent.Go(func() { send(peer, time.Now().Add(20*closeWait)) })
				defer sent.Wait()
				defer func() { _ = peer.Close() }()
				began := time.Now()
				c.close(websocket.StatusPolicyViolation, "no")
				if took := time.Since(began); took > closeWait {
					t.Errorf("the connection ends after %s, want %s at most", took, closeWait)
				}
				if c.cork.closeRead > closeBytes+4<<10 {
					t.Errorf("%d bytes are read, want %d and a buffer at most", c.cork.closeRead, closeBytes)
				}
			})
		})
	}
}

// TestRefusedMessageIsPassedOver: the rest of a refused message is skipped in blocks, and the peer's close frame after
// it ends the connection at once.
func TestRefusedMessageIsPassedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, peer := acceptPipe(t)
		defer func() { _ = peer.Close() }()
		c.cork.flooded = func() {}
		go func() {
			message := append(frameHeader(byte(websocket.MessageBinary), maxMessage-1),
				bytes.Repeat([]byte{'x'}, maxMessage-1)...)
			_, _ = peer.Write(message)
			_, _ = peer.Write([]byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xeb}) // a close frame with 1003
		}()
		began := time.Now()
		if err := c.read(t.Context(), nil); err == nil || err.Error() != "send text messages only: options_update as JSON" {
			t.Fatal(err)
		}
		c.close(websocket.StatusUnsupportedData, "no")
		if took := time.Since(began); took > 0 || c.cork.closeRead > 4<<10 {
			t.Errorf("the connection ends after %s, and %d bytes are read for the close frame", took, c.cork.closeRead)
		}
	})
}

var _ http.Hijacker = (*pipeWriter)(nil)
