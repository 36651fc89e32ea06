package budget

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// Segments, the database, the upstream and a replica's uploads need descriptors too: connections get what is above
	// this, and half where that is less.
	filesKept = 1024
	// A connection costs some 20 kB: its buffers, goroutines and the kernel's part.
	connectionBytes = 20 << 10
	// Connections are worth at most this part of the memory.
	connectionShare = 16
	// The least that a host gets, for a browser and a few programs behind it.
	leastPerHost = 128
)

// Connections is how many connections a server has at once, by the files and the memory of the process.
// A proxy in front is one host, so perHost false sets no limit by host.
func Connections(perHost bool) Config {
	total := min(max(Files()-filesKept, Files()/2), Memory()/connectionShare/connectionBytes)
	c := Config{Total: max(total, leastPerHost)}
	if perHost {
		c.PerHost = max(c.Total/16, leastPerHost)
		c.PerNet = min(c.PerHost*Wide, max(c.Total/2, c.PerHost))
	}
	return c
}

// Listen bounds the connections of a listener. A connection too many is closed at once, so that it keeps nobody else
// from being accepted.
func Listen(l net.Listener, b *Budget) net.Listener { return &listener{l, b} }

type listener struct {
	net.Listener
	budget *Budget
}

// Accept is net.Listener's.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		grant := l.budget.Try(ClientOf(conn.RemoteAddr().String()), 1)
		if grant != nil {
			return &counted{Conn: conn, grant: grant}, nil
		}
		_ = conn.Close() // the client sees the same whether this fails or not
	}
}

// counted is a connection that gives its grant back when it is closed.
type counted struct {
	net.Conn
	once  sync.Once
	grant *Grant
}

// Close is net.Conn's.
func (c *counted) Close() error {
	c.once.Do(c.grant.Give)
	return c.Conn.Close()
}

// Bodies ends connections whose request body does not arrive within wait, those whose handler does not read it too.
func Bodies(next http.Handler, wait time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(wait))
			if err != nil && !errors.Is(err, http.ErrNotSupported) {
				return // the connection is gone
			}
		}
		next.ServeHTTP(w, r)
	})
}
