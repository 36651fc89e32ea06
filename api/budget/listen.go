package budget

import (
	"errors"
	"math"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"weft.dev/weft/db/memlimit"
)

const (
	// filesKept is the number of descriptors for segments, the database, the upstream and uploads. Connections get the
	// rest, or half of all if that is more.
	filesKept = 1024
	// connectionBytes is the memory of a connection: its buffers, its goroutines and the kernel's part.
	connectionBytes = 20 << 10
	// connectionShare is the divisor of the memory that limits the memory of all connections.
	connectionShare = 16
	// leastPerHost is the least limit of a host, for a browser and a few programs behind one address.
	leastPerHost = 128
)

// Connections returns the limit of connections, from the file limit and the memory of the process. A reverse proxy is
// one host, so perHost must be false behind one.
func Connections(perHost bool) Config {
	total := min(max(openFiles()-filesKept, openFiles()/2), memlimit.Bytes()/connectionShare/connectionBytes)
	c := Config{Total: max(total, leastPerHost)}
	if perHost {
		c.PerHost = max(c.Total/16, leastPerHost)
		c.PerNet = min(c.PerHost*Wide, max(c.Total/2, c.PerHost))
	}
	return c
}

// openFiles returns the limit of open files and connections of the process.
func openFiles() int64 {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur > math.MaxInt32 {
		return math.MaxInt32
	}
	return int64(files.Cur)
}

// Listen limits the connections of a listener. It closes connections above the limit at once, so that the others are
// accepted.
func Listen(l net.Listener, b *Budget) net.Listener { return &listener{l, b} }

type listener struct {
	net.Listener
	budget *Budget
}

// Accept implements net.Listener.
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
		_ = conn.Close() // the client sees no difference if this fails
	}
}

// counted is a connection that gives back its grant on Close.
type counted struct {
	net.Conn
	once  sync.Once
	grant *Grant
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.once.Do(c.grant.Give)
	return c.Conn.Close()
}

// Bodies closes connections whose request body does not arrive within wait, also if the handler does not read it.
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
