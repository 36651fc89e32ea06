package budget

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func one(host string) Client { return Client{host, host} }

// TestFair: networks are served round-robin, one host each, and a taker that gives up leaves the line.
func TestFair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Total: 1})
		var mu sync.Mutex
		var got []string
		var asked sync.WaitGroup
		ask := func(who Client, patience time.Duration) {
			asked.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				grant, err := b.Take(ctx, who, 1)
				if err != nil {
					return
				}
				mu.Lock()
				got = append(got, who.Host)
				mu.Unlock()
				time.Sleep(time.Second)
				grant.Give()
				grant.Give()
			})
			synctest.Wait()
		}
		for range 4 {
			ask(one("a"), time.Hour)
		}
		ask(one("b"), 500*time.Millisecond)
		ask(one("b"), time.Hour)
		ask(Client{"c", "N"}, time.Hour)
		ask(Client{"d", "N"}, time.Hour)
		ask(Client{"c", "N"}, time.Hour)
		asked.Wait()
		// a holds the budget, then the networks are served in turn: a, b, N; within N: c, d, c.
		if s := strings.Join(got, ""); s != "aabcadac" {
			t.Errorf("in the order %s", s)
		}
		if b.free != 1 || len(b.nets) > 0 || len(b.held) > 0 || b.waiting != 0 {
			t.Errorf("%+v is left", b)
		}
	})
}

// TestShares: a host and a network get no more than their share, and others get the rest.
func TestShares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Total: 100, PerHost: 40, PerNet: 60})
		a := b.Try(Client{"a", "N"}, 40)
		if a == nil || b.Try(Client{"a", "N"}, 1) != nil || b.Try(Client{"b", "N"}, 21) != nil {
			t.Fatal("a host or a network holds more than its part")
		}
		if _, err := b.Take(t.Context(), Client{"c", "M"}, 41); !errors.Is(err, ErrFull) {
			t.Errorf("more than the limit of a client: %v", err)
		}
		var waiting sync.WaitGroup
		waiting.Go(func() {
			grant, err := b.Take(t.Context(), Client{"a", "N"}, 10)
			if err != nil {
				t.Error(err)
			}
			grant.Give()
		})
		synctest.Wait()
		begin := time.Now()
		other, err := b.Take(t.Context(), one("z"), 40)
		if err != nil || time.Since(begin) > 0 {
			t.Fatalf("another host waits behind one that has its part: %v", err)
		}
		other.Give()
		a.Shrink(30)
		waiting.Wait()
		a.Give()
		if b.Free() != 100 || len(b.held) > 0 {
			t.Errorf("%+v is left", b)
		}
	})
}

// TestLargeIsNotStarved: small takers don't overtake a large one that waits for a free amount.
func TestLargeIsNotStarved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Total: 10})
		first := b.Try(one("a"), 5)
		large := make(chan *Grant)
		go func() {
			grant, _ := b.Take(t.Context(), one("b"), 8)
			large <- grant
		}()
		synctest.Wait()
		if b.Try(one("c"), 1) != nil {
			t.Error("a small part overtakes")
		}
		first.Give()
		(<-large).Give()
	})
}

// TestLineIsBounded: a full line refuses at once, and one host cannot fill it.
func TestLineIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Total: 1, Waiting: 4, WaitingPerHost: 2})
		held := b.Try(one("x"), 1)
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		for _, host := range []string{"a", "a", "a", "b", "b", "c"} {
			waiting.Go(func() { _, _ = b.Take(ctx, one(host), 1) })
			synctest.Wait()
		}
		if b.waiting != 4 {
			t.Errorf("%d wait", b.waiting)
		}
		if _, err := b.Take(t.Context(), one("d"), 1); !errors.Is(err, ErrFull) {
			t.Errorf("a full line takes another one: %v", err)
		}
		cancel()
		waiting.Wait()
		held.Give()
		if b.waiting != 0 || len(b.nets) != 0 || b.free != 1 {
			t.Errorf("%+v is left", b)
		}
	})
}

func TestClients(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ header, value, remote, host, net string }{
		{"", "6.6.6.6", "1.2.3.4:5", "1.2.3.4", "1.2.3.4"},
		{"", "", "[2001:db8:1:2:3::4]:5", "2001:db8:1:2::/64", "2001:db8:1::/48"},
		{"", "", "[::ffff:1.2.3.4]:5", "1.2.3.4", "1.2.3.4"},
		{"", "", "[fe80::1%eth0]:5", "fe80::/64", "fe80::/48"},
		{"X-F", "6.6.6.6, 1.1.1.1", "9.9.9.9:1", "1.1.1.1", "1.1.1.1"},
		{"X-F", "2001:db8:1:2:3::4", "9.9.9.9:1", "2001:db8:1:2::/64", "2001:db8:1::/48"},
		{"X-F", "[2001:db8:1:2:3::4]:99", "9.9.9.9:1", "2001:db8:1:2::/64", "2001:db8:1::/48"},
		{"X-F", "", "9.9.9.9:1", "9.9.9.9", "9.9.9.9"},
		{"X-F", "unknown", "9.9.9.9:1", "?unknown", "?unknown"},
		{"X-F", strings.Repeat("x", 5000), "9.9.9.9:1", "?" + strings.Repeat("x", 64), "?" + strings.Repeat("x", 64)},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		if c.value != "" {
			r.Header.Set("X-F", c.value)
		}
		if got := (Clients{c.header}).Of(r); got != (Client{c.host, c.net}) {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

// TestListen: a connection above the limit of a host is closed at once, and a closed connection makes room.
func TestListen(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := New(Config{Total: 10, PerHost: 2})
	srv := &httptest.Server{Listener: Listen(l, b), Config: &http.Server{Handler: http.NotFoundHandler()}}
	srv.Start()
	defer srv.Close()
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		return conn
	}
	ask := func(conn net.Conn) bool {
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		n, _ := conn.Read(make([]byte, 1))
		return n == 1
	}
	first, second := dial(), dial()
	defer second.Close()
	if !ask(first) || !ask(second) {
		t.Fatal("two connections are not answered")
	}
	third := dial()
	if ask(third) {
		t.Error("a third connection is answered")
	}
	_ = third.Close()
	_ = first.Close()
	for range 500 {
		if b.Free() == 9 {
			fourth := dial()
			defer fourth.Close()
			if !ask(fourth) {
				t.Error("a connection that was closed makes no room")
			}
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d are free", b.Free())
}

// TestBodies: a body that does not arrive ends its connection, also if the handler does not read it.
func TestBodies(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"read":     func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) },
		"not read": func(http.ResponseWriter, *http.Request) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(Bodies(handler, 100*time.Millisecond))
			defer srv.Close()
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
			if _, err := io.ReadAll(conn); err != nil {
				t.Errorf("the connection stays open: %v", err)
			}
		})
	}
}

// TestConnections: the limit is below the file limit, and a host gets a part of it.
func TestConnections(t *testing.T) {
	t.Parallel()
	direct, proxied := Connections(true), Connections(false)
	if direct.Total >= openFiles() || direct.PerHost <= 0 ||
		direct.PerHost > direct.Total || direct.PerNet < direct.PerHost ||
		proxied.PerHost != 0 {
		t.Errorf("%+v, %+v of %d files", direct, proxied, openFiles())
	}
}
