package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// ServerConfig configures a Server. The zero value serves the default network on a free loopback port, without a
// backlog and without live events: tests add events with Emit.
type ServerConfig struct {
	// Network is the network to serve; the server owns it from then on. Nil: NewNetwork(NetworkConfig).
	Network *Network

	// NetworkConfig configures the network if Network is nil.
	NetworkConfig NetworkConfig

	// Dir is the directory of archive segments (seg_*.jss); those of an earlier run are removed. Empty: a temporary
	// directory, removed by Close.
	Dir string

	// Addr is the address to listen on. Empty: 127.0.0.1:0.
	Addr string

	// Backlog is the number of events that NewServer generates and seals into segments. A million take about 3 s.
	Backlog int

	// EventsPerSegment is the size of segments. Zero: 50,000, which seals in a quarter of a second. Real ones have
	// several million.
	EventsPerSegment int

	// Rate is the number of events a second that Run emits. Zero: none.
	Rate float64

	// Total is the number of events, with the Backlog, after which Run and Emit stop. Zero: unlimited.
	Total int

	// WallClock gives live events the time of the clock instead of spacing them by RatePerSec. Without a Network and a
	// StartUS the backlog ends just before the start. The history then depends on the time of the run.
	WallClock bool

	// Lookback is the number of events before the tip that the live streams can replay. A v2 seq cursor before that is
	// refused with CursorTooOld; times, and v1 cursors, are clamped. Zero: all of them.
	Lookback int

	// PlanEntries is the number of work units in a page of planSnapshot. Zero: 64, so that a larger archive takes
	// several pages. Real servers: 100,000.
	PlanEntries int

	// NoV2 makes a pure v1 server: no v2 routes, no "cursor" in frames, cursors always in µs.
	NoV2 bool

	// Faults are in force from the start; SetFaults changes them.
	Faults Faults

	// Logger gets the server's errors. Nil: nothing is logged.
	Logger *slog.Logger
}

// Server is a small Jetstream.
type Server struct {
	cfg    ServerConfig
	log    *eventLog
	codec  *codec
	logger *slog.Logger
	ln     net.Listener
	http   *http.Server
	dir    string
	tmp    bool

	gen     sync.Mutex // held while events are generated
	net     *Network
	emitted int     // number of events of the network, the backlog included
	requeue []Event // lost in a crash, and read again from the relay
	failure error   // of sealing; nothing is emitted afterwards

	faults faultState

	conns     sync.Mutex
	open      map[*subscriber]struct{}
	drops     atomic.Int64 // calls of DropAll
	stopped   bool
	wg        sync.WaitGroup
	closing   chan struct{}
	closeOnce sync.Once
	closeErr  error
	connected atomic.Int64 // number of accepted subscriptions
}

// NewServer generates the backlog and listens; Run serves.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.EventsPerSegment <= 0 {
		cfg.EventsPerSegment = 50_000
	}
	if cfg.PlanEntries <= 0 {
		cfg.PlanEntries = 64
	}
	if cfg.Network == nil {
		nc := cfg.NetworkConfig.withDefaults()
		if cfg.WallClock && cfg.NetworkConfig.StartUS == 0 {
			nc.StartUS = time.Now().UnixMicro() - int64(float64(cfg.Backlog)*1e6/nc.RatePerSec)
		}
		cfg.Network = NewNetwork(nc)
	}
	s := &Server{
		cfg:     cfg,
		log:     newEventLog(),
		logger:  cfg.Logger,
		dir:     cfg.Dir,
		net:     cfg.Network,
		open:    map[*subscriber]struct{}{},
		closing: make(chan struct{}),
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	s.faults.set(cfg.Faults)
	if err := s.start(); err != nil {
		_ = s.Close() // the first error is returned
		return nil, err
	}
	return s, nil
}

func (s *Server) start() (err error) {
	s.codec, err = newCodec(s.cfg.NoV2)
	if err != nil {
		return err
	}
	if s.dir == "" {
		s.tmp = true
		s.dir, err = os.MkdirTemp("", "weft-sim-")
		if err != nil {
			return fmt.Errorf("sim: temporary directory: %w", err)
		}
	} else {
		err = os.MkdirAll(s.dir, 0o755)
		if err != nil {
			return fmt.Errorf("sim: directory for segments: %w", err)
		}
	}
	err = clearSegments(s.dir)
	if err != nil {
		return err
	}
	s.ln, err = net.Listen("tcp", s.cfg.Addr)
	if err != nil {
		return fmt.Errorf("sim: listen: %w", err)
	}
	s.http = &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	err = s.buildBacklog()
	if err == nil && s.cfg.WallClock {
		s.net.gap = minGap
	}
	return err
}

// URL returns the server's address, http://host:port.
func (s *Server) URL() string { return "http://" + s.ln.Addr().String() }

// Tip returns the seq of the newest event, or zero.
func (s *Server) Tip() uint64 {
	_, tip := s.log.bounds()
	return tip
}

// Sealed returns the last seq in the archive.
func (s *Server) Sealed() uint64 {
	sealed, _ := s.log.bounds()
	return sealed
}

// Connections returns the number of subscriptions ever accepted.
func (s *Server) Connections() int { return int(s.connected.Load()) }

// Subscribers returns the number of open subscriptions.
func (s *Server) Subscribers() int {
	s.conns.Lock()
	defer s.conns.Unlock()
	return len(s.open)
}

// tick is the interval of emits: a hundredth of a second approximates an even stream.
const tick = 10 * time.Millisecond

// Run serves, and emits at the configured rate, until ctx ends or the server is closed. It then returns nil, and
// otherwise the error.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.ln) }()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	start := time.Now()
	done := 0.0
	for {
		select {
		case <-ctx.Done():
			return s.Close()
		case <-s.closing:
			return nil
		case err := <-served:
			if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) { // Close was faster
				return nil
			}
			return fmt.Errorf("sim: serve: %w", err)
		case <-ticker.C:
			if due := time.Since(start).Seconds()*s.cfg.Rate - done; due >= 1 {
				s.Emit(int(due))
				done += float64(int(due))
			}
			if err := s.Err(); err != nil {
				return errors.Join(err, s.Close())
			}
		}
	}
}

// Err returns the error that stopped the server from emitting; nil: none.
func (s *Server) Err() error {
	s.gen.Lock()
	defer s.gen.Unlock()
	if errors.Is(s.failure, errStopped) {
		return nil
	}
	return s.failure
}

// Close closes all connections with close frames and removes a temporary directory. A second call does nothing.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		close(s.closing)
		if s.ln != nil {
			_ = s.ln.Close() // Serve may have closed it
		}
		s.closeSubscribers()
		if s.http != nil {
			_ = s.http.Close()
		}
		s.wg.Wait()
		s.gen.Lock() // not during a seal
		defer s.gen.Unlock()
		if s.failure == nil {
			s.failure = errStopped
		}
		s.log.close()
		if s.tmp {
			if err := os.RemoveAll(s.dir); err != nil {
				s.closeErr = fmt.Errorf("sim: remove temporary directory: %w", err)
			}
		}
	})
	return s.closeErr
}
