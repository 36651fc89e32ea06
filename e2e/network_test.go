//go:build officialclient

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

const (
	// simAccounts makes an archive longer than the 8,192 events that weft rewinds at a restart: the first start reads
	// the archive, and later ones rewind on the live stream.
	simAccounts = 250
	simRecords  = 40
	// simCommits is below the simulator's limit of 300. A commit has 1.4 operations on average.
	simCommits = 250

	// serverWithin limits the start. Both are steady within a few seconds; a busy machine may take long.
	serverWithin = 60 * time.Second
)

// buildJetstream builds the versions that tools/go.mod pins. Every requirement is in its go.sum, so that the build is
// the reviewed code.
var buildJetstream = sync.OnceValue(func() error {
	err := goBuild(filepath.Join("..", "tools"),
		"github.com/bluesky-social/jetstream/cmd/jetstream",
		"github.com/bluesky-social/jetstream/cmd/simulator")
	if err != nil {
		return fmt.Errorf("the Jetstream server and simulator pinned in tools/go.mod can't be built; with no module cache "+
			"this needs the network: %w", err)
	}
	return nil
})

// network is Jetstream's server with its network simulator as the relay.
type network struct {
	url, debug    string
	relay         string   // base URL of the simulator
	simulator     *child   //
	simulatorArgs []string //
	server        *child
	args          []string // of the server
	journal       *journal // of the server
}

// startNetwork starts both and waits until the server has read the simulator's repos and sealed them into its archive.
func startNetwork(t *testing.T) *network {
	t.Helper()
	relay, public, debug := freeAddress(t), freeAddress(t), freeAddress(t)
	n := &network{url: "http://" + public, debug: "http://" + debug + "/metrics",
		journal: newJournal(t, "jetstream server"), relay: "http://" + relay}
	n.simulatorArgs = []string{"--log-format", "text", "serve",
		"--addr", relay, "--public-url", n.relay, "--data-dir", t.TempDir(), "--seed", "42",
		"--accounts", strconv.Itoa(simAccounts), "--initial-records-per-account", strconv.Itoa(simRecords),
		"--firehose-history", "1000000"} // all: the server must find the events that it missed while killed
	n.startSimulator(t, strconv.Itoa(simCommits))
	n.args = []string{"--log-format", "text", "serve", "--addr", public, "--debug-addr", debug,
		"--relay-url", n.relay, "--plc-url", n.relay, "--data-dir", t.TempDir()}
	n.startServer(t)
	return n
}

// startSimulator starts the simulator, or restarts it with its data.
func (n *network) startSimulator(t *testing.T, commitsPerSecond string) {
	t.Helper()
	n.simulator = start(t, newJournal(t, "network simulator"), nil, "simulator",
		append(n.simulatorArgs, "--commits-per-sec", commitsPerSecond)...)
	eventually(t, serverWithin, "the simulator serves", func() error {
		_, err := get(n.relay + "/xrpc/com.atproto.sync.listHosts")
		return err
	}, n.simulator)
}

// startServer starts the server, or restarts it with its data.
func (n *network) startServer(t *testing.T) {
	t.Helper()
	n.server = start(t, n.journal, nil, "jetstream", n.args...)
	eventually(t, serverWithin, "the Jetstream server serves its archive", func() error {
		_, err := n.sealed() // 503 until the server follows its network
		return err
	}, n.server, n.simulator)
}

// sealed returns the last sequence number in the archive.
func (n *network) sealed() (uint64, error) {
	body, err := get(n.url + "/xrpc/network.bsky.jetstream.listSegments?limit=1000")
	if err != nil {
		return 0, err
	}
	var a struct{ Segments []struct{ MaxSeq uint64 } }
	if err := json.Unmarshal(body, &a); err != nil {
		return 0, err
	}
	if len(a.Segments) == 0 {
		return 0, fmt.Errorf("the archive is empty")
	}
	return a.Segments[len(a.Segments)-1].MaxSeq, nil
}

// tip returns the sequence number of the server's newest event.
func (n *network) tip() (uint64, error) {
	next, err := metric(n.debug, "jetstream_ingest_next_seq")
	return uint64(next) - 1, err
}

const (
	// stillFor is many times the time of an event from the relay's socket to the server's log.
	stillFor = time.Second
	// backFor is longer than a server waits before it retries a relay that was away for some seconds.
	backFor = 8 * time.Second
)

// stop ends the simulator, waits until the server has received everything, and returns the tip.
func (n *network) stop(t *testing.T) uint64 {
	t.Helper()
	n.simulator.kill()
	return n.still(t, stillFor)
}

// hush ends the simulator and restarts it without new events, so that each server that reads from it gets all events.
// It ends in order: a killed simulator forgets events that it has sent, because it doesn't sync them, and a
// disconnected server would never get them.
func (n *network) hush(t *testing.T) {
	t.Helper()
	if code := n.simulator.terminate(t, serverWithin); code != 0 {
		t.Fatalf("the simulator ended with %d", code)
	}
	n.startSimulator(t, "0.000001")
}

// still waits until a server without new events has processed all, and returns the tip.
func (n *network) still(t *testing.T, for_ time.Duration) uint64 {
	t.Helper()
	last, since := uint64(0), time.Now()
	eventually(t, serverWithin, "the Jetstream server's tip stands still", func() error {
		tip, err := n.tip()
		if err != nil {
			return err
		}
		if tip != last {
			last, since = tip, time.Now()
		}
		if time.Since(since) < for_ {
			return fmt.Errorf("it is at %d", tip)
		}
		return nil
	}, n.server)
	return last
}

// freeAddress returns a free loopback address. The programs don't support port 0, because they must know their own
// URLs.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
