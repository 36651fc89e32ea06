package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// errBrokenPipe is the cause of a context that ends because the reader of stdout or stderr has ended.
var errBrokenPipe = errors.New("the reader of the output has ended")

// pipeWriter writes to a pipe, and calls broken when the reader of the pipe has ended.
type pipeWriter struct {
	to     io.Writer
	broken func()
}

func (p *pipeWriter) Write(b []byte) (int, error) {
	n, err := p.to.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		p.broken()
	}
	return n, err
}

// endWithReaders returns a context that ends when the reader of stdout or stderr ends, so that weft demo | head stops
// in order and removes its files: SIGPIPE would end the process at once. A service that loses the reader of its log
// ends too, and its supervisor starts it again. Go can't report whether the supervisor ignores SIGPIPE.
func endWithReaders(ctx context.Context, stdout, stderr *os.File) (context.Context, io.Writer, io.Writer) {
	signal.Ignore(syscall.SIGPIPE) // a write then fails with EPIPE
	ctx, cancel := context.WithCancelCause(ctx)
	broken := func() { cancel(errBrokenPipe) }
	return ctx, &pipeWriter{stdout, broken}, &pipeWriter{stderr, broken}
}
