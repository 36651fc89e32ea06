package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/pprof"
	"strings"
	"time"

	"weft.dev/weft/api"
	"weft.dev/weft/bench/common"
	"weft.dev/weft/db"
	"weft.dev/weft/db/memlimit"
)

// The questions are asked of a server in a process of its own, so that its processor time has no client in it. The
// environment has the options of a process that is this server.
const serverVariable = "WEFT_BENCH_SERVER"

// processorPath is a route of that server beside those of the API: its processor time so far, as a time.Duration.
const processorPath = "/bench/processor"

// serveChild serves a directory until its standard input ends, and prints its address first.
func serveChild(text string) error {
	var o options
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	memlimit.PaceGC() // as weft serve: its memory depends on it
	store, err := db.Open(db.Config{Dir: o.Dir, CacheBytes: int64(o.Cache) << 20})
	if err != nil {
		return err
	}
	if err := awaitCompactions(store); err != nil {
		return errors.Join(err, store.Close())
	}
	if o.Profile != "" {
		f, err := os.Create(o.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	mux := http.NewServeMux()
	server := api.New(api.Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
	mux.Handle("/", server)
	mux.Handle(floorPath, floor(server))
	mux.HandleFunc(processorPath, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, processor()) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	web := &http.Server{Handler: mux}
	go func() { _ = web.Serve(l) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
	return errors.Join(web.Close(), store.Close())
}

// awaitCompactions waits until no seal and no compaction has run for a second: their processor time is no answer's.
func awaitCompactions(store *db.Store) error {
	for quiet := 0; quiet < 10; quiet++ {
		st, err := store.Stats(context.Background())
		if err != nil {
			return err
		}
		if st.Sealing || st.Compacting {
			quiet = 0
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// child is a server in a process of its own.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
}

// startChild starts a server of the directory, which no store has open.
func startChild(ctx context.Context, o options) (*child, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd, err := common.Self(ctx)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(os.Environ(), serverVariable+"="+string(text))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the server of the questions does not start: %w", errors.Join(err, cmd.Wait()))
	}
	return &child{cmd, stdin, strings.TrimSpace(addr)}, nil
}

// processor returns the processor time that the server has taken.
func (c *child) processor(ctx context.Context) (time.Duration, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.addr+processorPath, nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	return time.ParseDuration(string(text))
}

// stop ends the server, and returns when its store is closed.
func (c *child) stop() error {
	_ = c.stdin.Close()
	return c.cmd.Wait()
}
