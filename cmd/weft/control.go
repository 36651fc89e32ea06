package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/panics"
	"weft.dev/weft/humanize"
)

// socketName is the socket in the data directory. A running weft takes requests on it that other processes can't do
// beside it. Only the user of weft can connect. The lock of the directory decides whether the socket is in use.
const socketName = "weft.sock"

// Routes of the socket. An answer is lines of controlLine; the last has the result.
const (
	compactPath   = "/compact"    // compacts all segments
	retryGapsPath = "/retry-gaps" // makes the gap with the parameter id due now; id 0: all open gaps
)

// controlLine is one line of an answer on the socket: progress or the result.
type controlLine struct {
	Progress string `json:"progress,omitempty"`
	Done     string `json:"done,omitempty"`
	Error    string `json:"error,omitempty"`
}

// maxSocketPath is the longest path of a Unix socket that every system accepts: macOS and the BSDs have 104 bytes for
// it with the final zero, Linux 108.
const maxSocketPath = 103

// socketPath returns a path of a data directory's socket that is short enough and valid until release. For a longer
// path it goes through the descriptor of the directory on Linux, and relative to the working directory elsewhere.
func socketPath(dir string) (path string, release func(), err error) {
	path = filepath.Join(dir, socketName)
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	if runtime.GOOS == "linux" {
		f, err := os.Open(dir)
		if err != nil {
			return "", nil, err
		}
		return fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), socketName), func() { _ = f.Close() }, nil
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", nil, err
	}
	path, err = filepath.Rel(wd, path)
	if err != nil || len(path) > maxSocketPath {
		return "", nil, fmt.Errorf("the path of %s is too long for a socket: start weft with a shorter --data", dir)
	}
	return path, func() {}, nil
}

// listenControl listens on the socket of a data directory. The caller holds the lock of the directory, so that a socket
// that exists belongs to a process that has ended.
func listenControl(dir string) (l net.Listener, err error) {
	path, release, err := socketPath(dir)
	if err != nil {
		return nil, err
	}
	defer release()
	err = os.Remove(filepath.Join(dir, socketName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	const mode = 0o600
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), mode) }) // the mode of the file on Linux
	}}
	l, err = c.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // path may be invalid at that time
	err = os.Chmod(filepath.Join(dir, socketName), mode)
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// control serves the socket of a writer.
type control struct {
	dir      string
	server   *http.Server
	listener net.Listener
	end      context.CancelFunc
}

// startControl starts to serve the socket of a data directory. On an error weft runs without it, and the commands that
// need it fail.
func startControl(dir string, store *db.Store, logger *slog.Logger) *control {
	l, err := listenControl(dir)
	if err != nil {
		logger.Warn("no socket in the data directory: weft compact and weft gaps retry work only while weft is stopped",
			"err", err)
		return nil
	}
	ctx, end := context.WithCancel(context.Background())
	c := &control{dir: dir, listener: l, end: end, server: &http.Server{
		Handler: controlHandler(store), ReadHeaderTimeout: readHeaderTimeout,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}}
	go func() {
		defer panics.Log(logger, "control")
		err := c.server.Serve(l)
		if !errors.Is(err, http.ErrServerClosed) {
			logger.Warn("the socket in the data directory has failed", "err", err)
		}
	}()
	return c
}

func controlHandler(store *db.Store) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+compactPath, func(w http.ResponseWriter, r *http.Request) {
		send := sendLines(w)
		send(controlLine{Progress: "asked the running weft for a compaction"})
		send(compact(r.Context(), store, func(text string) { send(controlLine{Progress: text}) }))
	})
	mux.HandleFunc("POST "+retryGapsPath, func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseInt(r.FormValue("id"), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		n, err := store.RetryGaps(id)
		send := sendLines(w)
		switch {
		case err != nil:
			send(controlLine{Error: err.Error()})
		case n == 0 && id > 0:
			send(controlLine{Error: errNoOpenGap.Error()})
		default:
			send(controlLine{Done: humanize.Count(n, "gap") + " will be retried within a minute"})
		}
	})
	return mux
}

// sendLines returns a function that writes and flushes one line of an answer.
func sendLines(w http.ResponseWriter) func(line controlLine) {
	answer := http.NewResponseController(w)
	lines := json.NewEncoder(w)
	return func(line controlLine) {
		_ = lines.Encode(line) // an interrupted command doesn't stop its request
		_ = answer.Flush()
	}
}

// stop removes the socket and closes its connections. It must run before the store closes.
func (c *control) stop() {
	if c == nil {
		return
	}
	_ = os.Remove(filepath.Join(c.dir, socketName))
	c.end()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := c.server.Shutdown(ctx) // finished answers are sent
	if err != nil {
		_ = c.server.Close()
	}
}

// compact compacts all segments of a store and returns the result line.
func compact(ctx context.Context, store *db.Store, progress func(text string)) controlLine {
	last := ""
	did, err := store.Compact(ctx, func(written, most int64) {
		text := fmt.Sprintf("compacting: %s written of at most %s", humanize.Bytes(written), humanize.Bytes(most))
		if text != last {
			last = text
			progress(text)
		}
	})
	switch {
	case errors.Is(err, context.Canceled):
		return controlLine{Error: "weft is stopping; its next start begins compactions anew: ask again then"}
	case err != nil:
		return controlLine{Error: err.Error()}
	case did.Segments == 0:
		return controlLine{Done: "nothing to compact: the index has one segment at most"}
	}
	return controlLine{Done: fmt.Sprintf("compacted %s into one: %s before, %s now", humanize.Count(int64(did.Segments),
		"segment"), humanize.Bytes(did.Before), humanize.Bytes(did.After))}
}
