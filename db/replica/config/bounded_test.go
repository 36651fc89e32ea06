package config

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
)

// boundTo bounds a client that stays the same.
func boundTo(client litestream.ReplicaClient) *boundedClient {
	return newBounded(client, "", func(string) (litestream.ReplicaClient, error) { return client, nil })
}

// hanging is a client whose requests hang. With deaf they don't hear that they are given up, as those of SFTP; free
// lets them go.
type hanging struct {
	litestream.ReplicaClient
	deaf bool
	free chan struct{}
}

func (h *hanging) hang(ctx context.Context) error {
	done := ctx.Done()
	if h.deaf {
		done = nil
	}
	select {
	case <-done:
		return ctx.Err()
	case <-h.free:
		return errors.New("let go")
	}
}

func (h *hanging) Init(ctx context.Context) error { return h.hang(ctx) }
func (h *hanging) LTXFiles(ctx context.Context, _ int, _ ltx.TXID, _ bool) (ltx.FileIterator, error) {
	return nil, h.hang(ctx)
}
func (h *hanging) OpenLTXFile(ctx context.Context, _ int, _, _ ltx.TXID, offset, _ int64) (io.ReadCloser, error) {
	if offset == 0 {
		return nil, h.hang(ctx)
	}
	return io.NopCloser(io.MultiReader(strings.NewReader("some"),
		readerFunc(func([]byte) (int, error) { return 0, h.hang(ctx) }))), nil
}
func (h *hanging) WriteLTXFile(ctx context.Context, _ int, _, _ ltx.TXID, r io.Reader) (*ltx.FileInfo, error) {
	_, _ = io.CopyN(io.Discard, r, 1)
	return nil, h.hang(ctx)
}
func (h *hanging) DeleteLTXFiles(ctx context.Context, _ []*ltx.FileInfo) error { return h.hang(ctx) }
func (h *hanging) DeleteAll(ctx context.Context) error                         { return h.hang(ctx) }

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

var requests = []struct {
	name  string
	limit time.Duration
	do    func(context.Context, litestream.ReplicaClient) error
}{
	{"connect", DefaultStallTimeout, func(ctx context.Context, c litestream.ReplicaClient) error { return c.Init(ctx) }},
	{"list", DefaultStallTimeout, func(ctx context.Context, c litestream.ReplicaClient) error {
		_, err := c.LTXFiles(ctx, 1, 0, false)
		return err
	}},
	{"open", DefaultStallTimeout, func(ctx context.Context, c litestream.ReplicaClient) error {
		_, err := c.OpenLTXFile(ctx, 0, 1, 1, 0, 0)
		return err
	}},
	{"read", DefaultStallTimeout, func(ctx context.Context, c litestream.ReplicaClient) error {
		body, err := c.OpenLTXFile(ctx, 0, 1, 1, 1, 0)
		if err != nil {
			return err
		}
		data, err := io.ReadAll(body)
		if string(data) != "some" {
			return errors.New("what came before it hung is lost")
		}
		return errors.Join(err, body.Close())
	}},
	{"write", uploadStall, func(ctx context.Context, c litestream.ReplicaClient) error {
		_, err := c.WriteLTXFile(ctx, 0, 1, 1, strings.NewReader("text"))
		return err
	}},
	{"delete", DefaultStallTimeout, func(ctx context.Context, c litestream.ReplicaClient) error {
		return c.DeleteLTXFiles(ctx, []*ltx.FileInfo{{}})
	}},
	{"delete all", uploadStall, func(ctx context.Context, c litestream.ReplicaClient) error { return c.DeleteAll(ctx) }},
}

// TestHungRequests: each kind of request that hangs is given up in its time, also by a client that hears nothing of
// that; the request after it has a connection of its own; and to end takes no longer than a second.
func TestHungRequests(t *testing.T) {
	t.Parallel()
	for _, deaf := range []bool{false, true} {
		for _, tc := range requests {
			t.Run(map[bool]string{false: "hears", true: "deaf"}[deaf]+"/"+tc.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					h, renewed := &hanging{deaf: deaf, free: make(chan struct{})}, 0
					b := newBounded(h, "", func(string) (litestream.ReplicaClient, error) { renewed++; return h, nil })
					for n := range 2 {
						began := time.Now()
						err := tc.do(t.Context(), b)
						var stalled *StalledError
						if !errors.As(err, &stalled) {
							t.Fatalf("error %v", err)
						}
						if took := time.Since(began); took < tc.limit || took > tc.limit+tc.limit/stallTicks+2*abandonAfter {
							t.Errorf("given up after %s", took)
						}
						if renewed != n {
							t.Errorf("request %d is made by client %d", n, renewed)
						}
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					began := time.Now()
					if err := tc.do(ctx, b); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("interrupted: %v", err)
					}
					if took := time.Since(began); took > time.Second+2*abandonAfter {
						t.Errorf("it ends after %s", took)
					}
					close(h.free)
					synctest.Wait()
					if n := b.abandoned.Load(); n != 0 {
						t.Errorf("%d requests are left behind", n)
					}
				})
			})
		}
	}
}

// TestHungRequestsAreBounded: a store that lets every request hang has a bounded number of them, and is asked again
// when they return.
func TestHungRequestsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{deaf: true, free: make(chan struct{})}
		b := boundTo(h)
		for range maxAbandoned {
			if err := b.Init(t.Context()); errors.Is(err, errHanging) {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if err := b.Init(t.Context()); !errors.Is(err, errHanging) || time.Since(began) > 0 {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		close(h.free)
		synctest.Wait()
		if err := b.Init(t.Context()); err == nil || errors.Is(err, errHanging) {
			t.Errorf("after they have returned: %v", err)
		}
	})
}

// slow moves a byte at a time, for as long as it takes.
type slow struct {
	litestream.ReplicaClient
	pause time.Duration
}

func (s *slow) WriteLTXFile(_ context.Context, _ int, _, _ ltx.TXID, r io.Reader) (*ltx.FileInfo, error) {
	b := make([]byte, 1)
	for {
		if _, err := io.ReadFull(r, b); err != nil {
			return &ltx.FileInfo{}, nil
		}
		time.Sleep(s.pause)
	}
}

func (s *slow) OpenLTXFile(context.Context, int, ltx.TXID, ltx.TXID, int64, int64) (io.ReadCloser, error) {
	rest := 5
	return io.NopCloser(readerFunc(func(p []byte) (int, error) {
		if rest == 0 {
			return 0, io.EOF
		}
		time.Sleep(s.pause)
		rest--
		return copy(p, "x"), nil
	})), nil
}

// TestSlowRequests: a request that moves is never given up, and one that hangs beside it is: each has a progress of its
// own.
func TestSlowRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var group sync.WaitGroup
		group.Go(func() {
			b := boundTo(&slow{pause: 2 * time.Minute})
			if _, err := b.WriteLTXFile(t.Context(), 0, 1, 1, bytes.NewReader(make([]byte, 20))); err != nil {
				t.Errorf("an upload of 40 minutes: %v", err)
			}
		})
		group.Go(func() {
			body, err := boundTo(&slow{pause: 20 * time.Second}).OpenLTXFile(t.Context(), 0, 1, 1, 0, 0)
			if err != nil {
				t.Error(err)
				return
			}
			if data, err := io.ReadAll(body); string(data) != "xxxxx" || err != nil {
				t.Errorf("a file of 100 seconds: %q, %v", data, err)
			}
		})
		group.Go(func() {
			began := time.Now()
			_, err := boundTo(&hanging{}).WriteLTXFile(t.Context(), 0, 1, 1, strings.NewReader("text"))
			if took := time.Since(began); err == nil || took > 4*time.Minute {
				t.Errorf("an upload that hangs beside ones that move is given up after %s: %v", took, err)
			}
		})
		group.Wait()
	})
}

var errBroken = errors.New("the listing broke off")

// halfListed is a listing that breaks off, and says so twice, as that of S3.
type halfListed struct {
	litestream.ReplicaClient
	ltx.FileIterator
	n int
}

func (h *halfListed) LTXFiles(context.Context, int, ltx.TXID, bool) (ltx.FileIterator, error) {
	return h, nil
}
func (h *halfListed) Close() error        { return errBroken }
func (h *halfListed) Err() error          { return errBroken }
func (h *halfListed) Item() *ltx.FileInfo { return &ltx.FileInfo{} }
func (h *halfListed) Next() bool          { h.n++; return h.n < 3 }

// TestListingBreaksOff: half a listing is none, and its error is told once.
func TestListingBreaksOff(t *testing.T) {
	t.Parallel()
	_, err := boundTo(&halfListed{}).LTXFiles(t.Context(), 0, 0, false)
	if !errors.Is(err, errBroken) || strings.Count(err.Error(), errBroken.Error()) != 1 {
		t.Errorf("error %q", err)
	}
}
