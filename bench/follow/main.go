// Command follow measures how far a follower is behind its primary: the time from the end of a commit of the primary,
// in one process, until the follower's queries see it, in another. The replica lies on an S3 server on this machine.
//
//	go run ./bench/follow                        1,000 events a second for a minute, uploaded each second
//	go run ./bench/follow --rate 5000 --for 5m --sync 500ms --every 100ms
//	go run ./bench/follow --file                 a directory in the place of the S3 server
//
// The machine's load is printed with the figures.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"weft.dev/weft/bench/common"
	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/db/replica"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
)

var (
	rate   = flag.Int("rate", 1000, "events a second")
	length = flag.Duration("for", time.Minute, "duration of the measurement")
	sync   = flag.Duration("sync", time.Second, "upload interval of the primary")
	every  = flag.Duration("every", 250*time.Millisecond, "poll interval of the follower")
	seal   = flag.Int("seal", 2<<20,
		"bytes in memory from which the primary seals a segment; small, so that it seals some during the measurement")
	file    = flag.Bool("file", false, "replicate to a directory")
	follow  = flag.String("follow", "", "run as the follower, in this directory")
	ymlFlag = flag.String("config", "", "config of the replica, for the follower")
)

// batchEvery is the interval of commits at the primary, as of the live stream.
const batchEvery = 100 * time.Millisecond

func main() {
	flag.Parse()
	do := measure
	if *follow != "" {
		do = beFollower
	}
	common.Main("follow", do)
}

// seen is the time at which the follower's queries show a log row: "SEQ MICROSECONDS" on its output.
type seen struct {
	seq uint64
	us  int64
}

// beFollower follows until its standard input ends.
func beFollower(ctx context.Context) error {
	c, err := config.Read(*ymlFlag)
	if err != nil {
		return err
	}
	f := replica.NewFollower(replica.FollowerConfig{Replica: c, Dir: *follow, PollInterval: *every})
	if err := f.Open(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		_, _ = os.Stdin.Read(make([]byte, 1))
	}()
	ran := make(chan error, 1)
	go func() { ran <- f.Run(ctx) }()
	for last := uint64(0); ; {
		commits := f.Index().Commits()
		if seq := f.Index().Seq(); seq != last {
			fmt.Println(seq, time.Now().UnixMicro())
			last = seq
		}
		select {
		case <-commits:
		case err := <-ran:
			st := f.Status()
			fmt.Fprintf(os.Stderr, "follower: %s, %d segments missing\n", st.State, st.MissingSegments)
			return errors.Join(err, f.Close())
		}
	}
}

func measure(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "weft-follow-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	where := "{type: file, path: " + filepath.Join(dir, "replica")
	if !*file {
		endpoint, stop, err := startS3()
		if err != nil {
			return err
		}
		defer stop()
		where = "{type: s3, bucket: bucket, path: weft, region: us-east-1, access-key-id: key, secret-access-key: secret, " +
			"endpoint: '" + endpoint + "'"
	}
	yml := filepath.Join(dir, "litestream.yml")
	primary := filepath.Join(dir, "primary")
	if err := os.WriteFile(yml, fmt.Appendf(nil, "dbs:\n  - path: %s\n    replica: %s, sync-interval: %s}\n",
		filepath.Join(primary, "weft.db"), where, *sync), 0o600); err != nil {
		return err
	}
	c, err := config.Read(yml)
	if err != nil {
		return err
	}
	total := int(length.Seconds()*float64(*rate)) + 4**rate
	events, err := truth.Events(sim.NetworkConfig{Accounts: max(total/20, 1000)}, total)
	if err != nil {
		return err
	}
	committed, ended, err := write(ctx, c, primary, events, filepath.Join(dir, "copy"), yml)
	if err != nil {
		return err
	}
	report(committed, ended)
	return nil
}

// startS3 starts the S3 server of the tests in this process.
func startS3() (endpoint string, stop func(), err error) {
	objects := s3mem.New()
	if err := objects.CreateBucket("bucket"); err != nil {
		return "", nil, err
	}
	s := httptest.NewServer(gofakes3.New(objects).Server())
	return s.URL, s.Close, nil
}

// write commits the events at the rate while a follower follows.
func write(ctx context.Context, c config.Config, dir string, events []apply.Event, to, yml string) (committed,
	saw []seen,
	err error) {
	rep := replica.New(replica.ReplicatorConfig{Replica: c, Dir: dir})
	if err := rep.Prepare(ctx); err != nil {
		return nil, nil, err
	}
	checkpoint, err := checkpoint.Parse("1000000 frames")
	if err != nil {
		return nil, nil, err
	}
	store, err := db.Open(db.Config{Dir: dir, Lock: rep.DirLock(), SealBytes: *seal, ReplayWindow: time.Hour,
		Checkpoint: checkpoint,
		Replicator: true, OnSegment: rep.OnSegment})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		rep.Release()
		err = errors.Join(err, store.Close(), rep.Close())
	}()
	if err := rep.Open(ctx, store); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- rep.Run(ctx) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-ran)
	}()
	commit := func(n int) error {
		n = min(n, len(events))
		if _, err := store.Apply(db.Batch{Host: "bench", Events: events[:n]}); err != nil {
			return err
		}
		events = events[n:]
		committed = append(committed, seen{store.Seq(), time.Now().UnixMicro()})
		return nil
	}
	if err := commit(2 * *rate); err != nil {
		return nil, nil, err
	}
	for rep.Status().DurableLogSeq == 0 {
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	f, err := startFollower(ctx, to, yml)
	if err != nil {
		return nil, nil, err
	}
	defer f.stop()
	committed = nil
	ticker := time.NewTicker(batchEvery)
	defer ticker.Stop()
	for begun, sent := time.Now(), 0; time.Since(begun) < *length; {
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-ticker.C:
		}
		if n := int(time.Since(begun).Seconds()*float64(*rate)) - sent; n > 0 {
			if err := commit(n); err != nil {
				return nil, nil, err
			}
			sent += n
		}
	}
	saw = f.until(store.Seq())
	work := store.Work()
	fmt.Printf("%d segments sealed and %d compacted by the primary meanwhile\n", work.Seals, work.Compactions)
	return committed, saw, nil
}

// follower is the follower's process.
type follower struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	in    interface{ Close() error }
}

func startFollower(ctx context.Context, dir, yml string) (*follower, error) {
	cmd, err := common.Self(ctx, "-follow", dir, "-config", yml, "-every", every.String())
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	f := &follower{cmd: cmd, lines: bufio.NewScanner(out), in: in}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if !f.lines.Scan() { // it serves a state
		f.stop()
		return nil, errors.New("the follower ended before it served anything")
	}
	return f, nil
}

// until reads the follower's times up to a log row.
func (f *follower) until(seq uint64) (saw []seen) {
	for f.lines.Scan() {
		var s seen
		if _, err := fmt.Sscan(f.lines.Text(), &s.seq, &s.us); err != nil {
			break
		}
		saw = append(saw, s)
		if s.seq >= seq {
			break
		}
	}
	return saw
}

func (f *follower) stop() {
	_ = f.in.Close()
	_ = f.cmd.Wait()
}

// report prints the time from each commit until the follower shows it.
func report(committed, saw []seen) {
	var lags []time.Duration
	unseen := 0
	for _, c := range committed {
		i, _ := slices.BinarySearchFunc(saw, c.seq, func(s seen, seq uint64) int {
			if s.seq < seq {
				return -1
			}
			return 1
		})
		if i == len(saw) {
			unseen++
			continue
		}
		lags = append(lags, time.Duration(saw[i].us-c.us)*time.Microsecond)
	}
	slices.Sort(lags)
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("load %s", load)
	if len(lags) == 0 {
		fmt.Println("the follower served no row")
		return
	}
	at := func(share float64) time.Duration {
		return lags[min(int(share*float64(len(lags))), len(lags)-1)].Round(time.Millisecond)
	}
	fmt.Printf("%d events/s, uploaded each %s, looked for each %s: %d commits, lag p50 %s, p90 %s, p99 %s, max %s; %d "+
		"never seen\n",
		*rate, *sync, *every, len(lags), at(0.5), at(0.9), at(0.99), at(1), unseen)
}
