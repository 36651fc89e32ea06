package ingest_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"weft.dev/weft/db/body"
)

// pipes is the listener of a server in this process. Its connections are pipes, which goroutines in a bubble of
// testing/synctest may wait for, unlike sockets.
type pipes struct {
	name   string
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

var (
	listening sync.Map // *pipes by name
	listeners atomic.Int64
)

func newPipes(t *testing.T) *pipes {
	p := &pipes{name: fmt.Sprintf("stream%d.test", listeners.Add(1)), conns: make(chan net.Conn),
		closed: make(chan struct{})}
	listening.Store(p.name, p)
	t.Cleanup(func() { listening.Delete(p.name) })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr  { return p }
func (p *pipes) Network() string { return "pipe" }
func (p *pipes) String() string  { return p.name }

// pipeClient returns a client that reaches the servers of newPipes, and all others as usual.
func pipeClient(t *testing.T) *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		found, ok := listening.Load(host)
		if !ok {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		p := found.(*pipes)
		here, there := net.Pipe()
		select {
		case p.conns <- there:
			return here, nil
		case <-p.closed:
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// The encoder and the decoder of record bodies are made once, with channels. Made in a bubble, no other test could use
// them.
var _, _ = body.Decode(body.Encode(nil, []byte{0xa0}))
