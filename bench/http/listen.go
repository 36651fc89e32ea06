package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// listener is a WebSocket that only listens.
type listener struct {
	conn net.Conn
	in   *bufio.Reader
	buf  []byte
}

func listen(addr, query string) (*listener, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(conn, "GET /subscribe?%s HTTP/1.1\r\nHost: weft\r\nConnection: Upgrade\r\nUpgrade: "+
		"websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", query)
	in := bufio.NewReaderSize(conn, 4<<10)
	status, err := textproto.NewReader(in).ReadLine()
	if err != nil || !strings.Contains(status, "101") {
		return nil, errors.Join(err, errors.New(status))
	}
	if _, err := textproto.NewReader(in).ReadMIMEHeader(); err != nil {
		return nil, err
	}
	return &listener{conn: conn, in: in}, nil
}

// next reads a frame, which is valid until the next.
func (l *listener) next() ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(l.in, head[:2]); err != nil {
		return nil, err
	}
	n := uint64(head[1] & 0x7f)
	switch n {
	case 126:
		if _, err := io.ReadFull(l.in, head[:2]); err != nil {
			return nil, err
		}
		n = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		if _, err := io.ReadFull(l.in, head[:]); err != nil {
			return nil, err
		}
		n = binary.BigEndian.Uint64(head[:])
	}
	l.buf = append(l.buf[:0], make([]byte, n)...)
	_, err := io.ReadFull(l.in, l.buf)
	return l.buf, err
}

func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

const marker = "https://bench.example/"

// live has subscribers who each want one subject in as many as they are. The time of an event is in its subject.
func (b *bench) live(ctx context.Context) error {
	before := memory()
	var subs []*listener
	defer func() {
		for _, l := range subs {
			_ = l.conn.Close()
		}
	}()
	for i := range b.Subscribers {
		l, err := listen(b.addr, fmt.Sprintf("instant=true&wantedSubjectPrefixes=%s%d/", marker, i))
		if err != nil {
			return fmt.Errorf("subscriber %d: %w", i, err)
		}
		subs = append(subs, l)
	}
	time.Sleep(time.Second)
	idle := (memory() - before) / uint64(max(len(subs), 1))

	var mu sync.Mutex
	var times []time.Duration
	var readers sync.WaitGroup
	for _, l := range subs {
		readers.Go(func() {
			for {
				frame, err := l.next()
				if err != nil {
					return
				}
				_, after, ok := bytes.Cut(frame, []byte(marker))
				if !ok {
					continue
				}
				_, us, _ := bytes.Cut(after, []byte("/"))
				us, _, _ = bytes.Cut(us, []byte(`"`))
				at, err := strconv.ParseInt(string(us), 10, 64)
				if err != nil {
					continue
				}
				mu.Lock()
				times = append(times, time.Since(time.UnixMicro(at)))
				mu.Unlock()
			}
		})
	}
	ctx, cancel := context.WithTimeout(ctx, b.For)
	defer cancel()
	begin := time.Now()
	used := processor()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return b.ingest(gctx, func(i int) string {
			return fmt.Sprintf("%s%d/%d", marker, b.rand.IntN(max(b.Subscribers, 1)), time.Now().UnixMicro())
		})
	})
	if err := g.Wait(); err != nil {
		return err
	}
	cores := (processor() - used).Seconds() / time.Since(begin).Seconds()
	time.Sleep(500 * time.Millisecond)
	for _, l := range subs {
		_ = l.conn.Close()
	}
	readers.Wait()
	fmt.Fprintf(b.out, "live: %d subscribers, %d events a second, from before the commit to the frame: %s; %d frames; "+
		"%.2f cores with ingest and clients; %.1f kB for an idle one, its client included\n",
		len(subs), b.Rate, quantiles(times), len(times), cores, float64(idle)/1000)
	return nil
}

// replayed reads the newest events of the log as fast as they come.
func (b *bench) replayed(context.Context) error {
	n := min(uint64(b.Replay), b.store.Seq())
	cursor := b.store.Seq() - n
	for _, way := range []struct {
		name string
		read func() error
	}{
		{"server-sent events", func() error {
			res, err := http.Get(fmt.Sprintf("http://%s/events?cursor=%d", b.addr, cursor))
			if err != nil {
				return err
			}
			defer res.Body.Close()
			in := bufio.NewReaderSize(res.Body, 256<<10)
			for got := uint64(0); got < n; {
				line, err := in.ReadSlice('\n')
				if err != nil {
					return err
				}
				if bytes.HasPrefix(line, []byte("data: ")) {
					got++
				}
			}
			return nil
		}},
		{"a WebSocket", func() error {
			l, err := listen(b.addr, fmt.Sprintf("instant=true&cursor=%d", cursor))
			if err != nil {
				return err
			}
			defer l.conn.Close()
			l.in = bufio.NewReaderSize(l.in, 256<<10)
			for range n {
				if _, err := l.next(); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		begin := time.Now()
		if err := way.read(); err != nil {
			return fmt.Errorf("replay over %s: %w", way.name, err)
		}
		fmt.Fprintf(b.out, "replay: %d events over %s, %.0f a second\n", n, way.name, float64(n)/time.Since(begin).Seconds())
	}
	return nil
}
