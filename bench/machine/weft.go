package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// weft is a weft serve within limits.
type weft struct {
	binary, data     string
	config, upstream string
	limits           *limits
	asked            *requests // to its replica; nil: not counted

	cmd   *exec.Cmd
	url   string
	log   bytes.Buffer
	ended chan error
}

// replicaConfig writes a litestream.yml with the settings of the shipped one, and another place: a directory, or an S3
// server in this process.
func replicaConfig(dir, data string, s3 bool) (file string, asked *requests, end func(), err error) {
	shipped, err := os.ReadFile("litestream.yml")
	if err != nil {
		return "", nil, nil, fmt.Errorf("the shipped settings, from the root of the project: %w", err)
	}
	text := string(shipped)
	head, place, ok := strings.Cut(text, "      type: s3\n")
	if !ok {
		return "", nil, nil, errors.New("litestream.yml has no replica of type s3")
	}
	end = func() {}
	if s3 {
		objects := s3mem.New()
		if err := objects.CreateBucket("bucket"); err != nil {
			return "", nil, nil, err
		}
		asked = &requests{}
		server := httptest.NewServer(asked.counting(gofakes3.New(objects).Server()))
		end = server.Close
		place = strings.NewReplacer("${BUCKET_NAME}", "bucket", "${REPLICA}", "r", "${AWS_ENDPOINT_URL_S3}", server.URL,
			"region: auto", "region: us-east-1\n      access-key-id: key\n      secret-access-key: secret").Replace(place)
		text = head + "      type: s3\n" + place
	} else {
		interval := regexp.MustCompile(`(?m)^ *sync-interval: \S+`).FindString(place)
		text = head + "      type: file\n      path: " + filepath.Join(dir, "replica") + "\n" + interval + "\n"
	}
	text = strings.Replace(text, "/data/weft.db", filepath.Join(data, "weft.db"), 1)
	file = filepath.Join(dir, "litestream.yml")
	return file, asked, end, os.WriteFile(file, []byte(text), 0o600)
}

// requests counts the requests to the S3 server by what they cost: writes and listings, and reads.
type requests struct {
	writes, lists, reads atomic.Int64
}

func (r *requests) counting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch {
		case q.Method == http.MethodDelete || q.Method == http.MethodPost && q.URL.Query().Has("delete"):
			// removals cost nothing
		case q.Method == http.MethodPut || q.Method == http.MethodPost:
			r.writes.Add(1)
		case q.Method == http.MethodGet && (q.URL.Query().Has("list-type") || q.URL.Query().Has("prefix")):
			r.lists.Add(1)
		case q.Method == http.MethodGet || q.Method == http.MethodHead:
			r.reads.Add(1)
		}
		next.ServeHTTP(w, q)
	})
}

// count returns the writes, listings and reads so far.
func (r *requests) count() [3]int64 {
	if r == nil {
		return [3]int64{}
	}
	return [3]int64{r.writes.Load(), r.lists.Load(), r.reads.Load()}
}

// settings returns the variables of fly.toml that begin with WEFT_ and hold on any machine.
func settings() ([]string, error) {
	text, err := os.ReadFile("fly.toml")
	if err != nil {
		return nil, fmt.Errorf("the shipped settings, from the root of the project: %w", err)
	}
	var env []string
	variable := regexp.MustCompile(`(?m)^  (WEFT_DISK|WEFT_KEEP|WEFT_REPLAY_WINDOW) = "(.*)"`)
	for _, m := range variable.FindAllStringSubmatch(string(text), -1) {
		env = append(env, m[1]+"="+m[2])
	}
	return env, nil
}

// start starts weft, and waits for its first answer.
func (w *weft) start(ctx context.Context) error {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		return err
	}
	env, err := settings()
	if err != nil {
		return err
	}
	w.url = "http://" + address
	w.ended = make(chan error, 1)
	w.cmd = exec.CommandContext(ctx, "sh", "-c", w.limits.enter()+` && exec "$0" "$@"`, w.binary, "serve",
		"--data", w.data, "--jetstream", w.upstream, "--from", "start", "--yes", "--replicate", w.config, "--listen", address)
	w.cmd.Env = append(os.Environ(), env...)
	w.cmd.Stderr = &w.log
	if err := w.cmd.Start(); err != nil {
		return err
	}
	go func() { w.ended <- w.cmd.Wait() }()
	for {
		_, err := w.status(ctx)
		if err == nil {
			return nil
		}
		select {
		case err := <-w.ended:
			return fmt.Errorf("weft has ended: %w\n%s", err, w.log.String())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// stop ends weft as fly.io does, and waits for its end.
func (w *weft) stop() error {
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("weft has ended before: %w\n%s", err, w.log.String())
	}
	select {
	case err := <-w.ended:
		return err
	case <-time.After(3 * time.Minute):
		return errors.Join(errors.New("weft does not end"), w.cmd.Process.Kill())
	}
}

// status is what is read of /status.
type status struct {
	Index struct {
		Links      int64 `json:"links"`
		Segments   int   `json:"segments"`
		Sealing    bool  `json:"sealing"`
		Compacting bool  `json:"compacting"`
	} `json:"index"`
	Space    space `json:"space"`
	Upstream struct {
		State     string  `json:"state"`
		Degraded  string  `json:"degraded"`
		Lag       float64 `json:"lag_seconds"`
		Committed uint64  `json:"committed"`
	} `json:"upstream"`
	Replication struct {
		State string `json:"state"`
	} `json:"replication"`
	Faults []struct {
		Message, Detail string
		Count           int
	} `json:"faults"`
}

type space struct {
	Database int64 `json:"database_bytes"`
	WAL      int64 `json:"wal_bytes"`
	Segments int64 `json:"segment_bytes"`
	Free     int64 `json:"free_bytes"`
}

func (s space) bytes() int64 { return s.Database + s.WAL + s.Segments }

func (w *weft) status(ctx context.Context) (status, error) {
	text, err := w.get(ctx, "/status?format=json")
	if err != nil {
		return status{}, err
	}
	var s status
	err = json.Unmarshal(text, &s)
	return s, err
}

// processor returns the processor time of weft so far.
func (w *weft) processor() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var user, system int64
	_, _ = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	return time.Duration(user+system) * (time.Second / 100) // in ticks of 10 ms
}

// memory returns the resident set of weft and its peak, in MB.
func (w *weft) memory() (now, peak int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	for line := range strings.Lines(string(text)) {
		var kb int
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			now = kb * 1024 / 1e6
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			peak = kb * 1024 / 1e6
		}
	}
	return now, peak
}

// get asks weft.
func (w *weft) get(ctx context.Context, path string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var text bytes.Buffer
	_, err = text.ReadFrom(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, res.Status, text.String())
	}
	return text.Bytes(), err
}

// compact compacts all segments into one, and prints how long that took.
func (w *weft) compact(ctx context.Context) error {
	begun := time.Now()
	text, err := exec.CommandContext(ctx, w.binary, "compact", "--data", w.data).CombinedOutput()
	if err != nil {
		return fmt.Errorf("compact: %w\n%s", err, text)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n") // progress, and then the result
	fmt.Printf("compact      after %s: %s\n", time.Since(begun).Round(time.Second), lines[len(lines)-1])
	return nil
}
