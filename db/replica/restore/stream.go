package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
)

const (
	// streamTries is the number of times that a stream connects again without receiving a byte. The first pause is
	// retryPause, and each is twice as long as the one before: 7.5 seconds in all, enough for a restart of the server.
	streamTries = 5
	retryPause  = 500 * time.Millisecond
)

// stream reads a file of the replica up to the size in the listing. After a broken or canceled connection it continues
// at the same byte: large files take minutes, and stores close idle connections.
type stream struct {
	ctx    context.Context
	client litestream.ReplicaClient
	info   *ltx.FileInfo
	body   io.ReadCloser
	offset int64
	tries  int
}

func newStream(ctx context.Context, client litestream.ReplicaClient, info *ltx.FileInfo) *stream {
	return &stream{ctx: ctx, client: client, info: info}
}

func (s *stream) Read(p []byte) (int, error) {
	for {
		if s.offset >= s.info.Size {
			return 0, io.EOF
		}
		n, err := s.try(p[:min(int64(len(p)), s.info.Size-s.offset)])
		s.offset += int64(n)
		if n > 0 {
			s.tries = 0
			return n, nil
		}
		_ = s.Close()
		switch {
		case s.ctx.Err() != nil:
			return 0, s.ctx.Err()
		case errors.Is(err, fs.ErrNotExist):
			return 0, err
		}
		s.tries++
		if s.tries == streamTries {
			return 0, fmt.Errorf("read at %d of %d bytes: %w", s.offset, s.info.Size, err)
		}
		select {
		case <-s.ctx.Done():
			return 0, s.ctx.Err()
		case <-time.After(retryPause << (s.tries - 1)):
		}
	}
}

// try reads once. It returns an error if the file ends before the size in the listing.
func (s *stream) try(p []byte) (int, error) {
	if s.body == nil {
		body, err := s.client.OpenLTXFile(s.ctx, s.info.Level, s.info.MinTXID, s.info.MaxTXID, s.offset,
			s.info.Size-s.offset)
		if err != nil {
			return 0, err
		}
		s.body = body
	}
	n, err := s.body.Read(p)
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (s *stream) Close() error {
	if s.body == nil {
		return nil
	}
	err := s.body.Close()
	s.body = nil
	return err
}
