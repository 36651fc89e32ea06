package restore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"

	"weft.dev/weft/db/replica/config"
)

// flaky is a client of one file whose connections do as they are told, one after the other; the last one goes on.
type flaky struct {
	litestream.ReplicaClient
	data  []byte
	conns []func(ctx context.Context, rest []byte) (io.ReadCloser, error)
	n     int
}

func (f *flaky) OpenLTXFile(ctx context.Context, _ int, _, _ ltx.TXID, offset, _ int64) (io.ReadCloser, error) {
	conn := f.conns[min(f.n, len(f.conns)-1)]
	f.n++
	return conn(ctx, f.data[offset:])
}

func whole(_ context.Context, rest []byte) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(rest)), nil
}

func breaksAfter(n int, err error) func(context.Context, []byte) (io.ReadCloser, error) {
	return func(_ context.Context, rest []byte) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(rest[:min(n, len(rest))]),
			readerFunc(func([]byte) (int, error) { return 0, err }))), nil
	}
}

func refuses(err error) func(context.Context, []byte) (io.ReadCloser, error) {
	return func(context.Context, []byte) (io.ReadCloser, error) { return nil, err }
}

// silent sends some bytes, and then nothing until it is given up.
func silent(n int) func(context.Context, []byte) (io.ReadCloser, error) {
	return func(ctx context.Context, rest []byte) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(rest[:n]), readerFunc(func([]byte) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}))), nil
	}
}

// TestStream: a connection that breaks, ends early, is refused or falls silent is taken up where it was; what stays
// away is an error, and what isn't there is one at once.
func TestStream(t *testing.T) {
	t.Parallel()
	reset := errors.New("connection reset")
	type conns = []func(context.Context, []byte) (io.ReadCloser, error)
	for _, tc := range []struct {
		name  string
		conns conns
		err   error
		took  time.Duration // at most
	}{
		{"at once", conns{whole}, nil, 0},
		{"broken again and again", conns{breaksAfter(10, reset), breaksAfter(1, reset), breaksAfter(50, io.EOF), whole}, nil,
			3 * time.Second},
		{"refused for a while", conns{refuses(reset), refuses(reset), refuses(reset), refuses(reset), whole}, nil,
			8 * time.Second},
		{"silent", conns{silent(10), whole}, nil, config.DefaultStallTimeout + time.Second},
		{"away", conns{breaksAfter(10, reset), refuses(reset)}, reset, 20 * time.Second},
		{"ends early, always", conns{breaksAfter(0, io.EOF)}, io.ErrUnexpectedEOF, 20 * time.Second},
		{"gone", conns{breaksAfter(10, reset), refuses(fs.ErrNotExist)}, fs.ErrNotExist, time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				data := bytes.Repeat([]byte("0123456789"), 30)
				began := time.Now()
				f := &flaky{data: data, conns: tc.conns}
				client := config.BoundClient(f, func(string) (litestream.ReplicaClient, error) { return f, nil })
				s := newStream(t.Context(), client, &ltx.FileInfo{Size: int64(len(data))})
				got, err := io.ReadAll(s)
				if !errors.Is(err, tc.err) || err == nil && !bytes.Equal(got, data) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > tc.took {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// TestStreamEnds: an interrupt ends the wait for a connection.
func TestStreamEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s := newStream(ctx, &flaky{data: make([]byte, 9), conns: []func(context.Context, []byte) (io.ReadCloser,
			error){refuses(errors.New("away"))}}, &ltx.FileInfo{Size: 9})
		if _, err := io.ReadAll(s); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}
