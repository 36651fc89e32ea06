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

// ServerConfig configures a Server. The zero value serves the default network on a free port of loopback, with nothing
// in it and nothing coming: tests push events with Emit.
type ServerConfig struct {
	// Network is what the server serves; it belongs to the server from then on. Nil: NewNetwork(NetworkConfig).
	Network *Network

	// NetworkConfig makes the network when Network is nil.
	NetworkConfig NetworkConfig

	// Dir is where archive segments (seg_*.jss) are written; those of an earlier run are removed. Empty: a temporary
	// directory, removed by Close.
	Dir string

	// Addr is what to listen on. Empty: 127.0.0.1:0.
	Addr string

	// Backlog is how many events NewServer makes and seals into segments. It takes about 3 s per million.
	Backlog int

	// EventsPerSegment is the size of segments. Zero: 50,000, which seals in a quarter of a second. Real ones hold
	// several million.
	EventsPerSegment int

	// Rate is how many events a second Run emits. Zero: none by itself.
	Rate float64

	// Total is when Run and Emit stop, counted with the Backlog. Zero: never.
	Total int

	// WallClock gives live events the time of the clock instead of spacing them by RatePerSec, and without a Network
	// and a StartUS puts the backlog right before it. The history then depends on when it was made.
	WallClock bool

	// Lookback is how many events before the tip the live streams go back. A v2 seq cursor below is refused with
	// CursorTooOld; times, and v1 cursors, are clamped. Zero: all of them.
	Lookback int

	// PlanEntries is how many work units a page of planSnapshot holds. Zero: 64, so that a larger archive takes several
	// pages. Real servers: 100,000.
	PlanEntries int

	// NoV2 makes a pure v1 server: no v2 routes, no "cursor" in frames, cursors always in µs.
	NoV2 bool

	// Faults are in force from the start; SetFaults changes them.
	Faults Faults

	// Logger gets what goes wrong on the server's side. Nil: nothing is logged.
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

	gen     sync.Mutex // held while events are made
	net     *Network
	emitted int     // events of the network so far, the backlog included
	requeue []Event // lost in a crash and read again from the relay
	failure error   // of sealing; nothing is emitted after it

	faults faultState

	conns     sync.Mutex
	open      map[*subscriber]struct{}
	drops     atomic.Int64 // calls of DropAll
	stopped   bool
	wg        sync.WaitGroup
	closing   chan struct{}
	closeOnce sync.Once
	closeErr  error
	connected atomic.Int64 // subscriptions ever accepted
}

// NewServer makes the backlog and begins to listen; Run serves.
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

// URL is the server's address, http://host:port.
func (s *Server) URL() string { return "http://" + s.ln.Addr().String() }

// Tip is the seq of the newest event; zero when there is none.
func (s *Server) Tip() uint64 {
	_, tip := s.log.bounds()
	return tip
}

// Sealed is the last seq that is in the archive.
func (s *Server) Sealed() uint64 {
	sealed, _ := s.log.bounds()
	return sealed
}

// Connections is how many subscriptions were ever accepted.
func (s *Server) Connections() int { return int(s.connected.Load()) }

// Subscribers is how many subscriptions are open.
func (s *Server) Subscribers() int {
	s.conns.Lock()
	defer s.conns.Unlock()
	return len(s.open)
}

// tick is how often Run emits: a hundredth of a second's events at a time come close to an even stream.
const tick = 10 * time.Millisecond

// Run serves, and emits at the configured rate, until ctx is done or the server is closed. It returns nil then, else
// what went wrong.
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

// Err is why the server emits no more, if it is because of a failure of its own.
func (s *Server) Err() error {
	s.gen.Lock()
	defer s.gen.Unlock()
	if errors.Is(s.failure, errStopped) {
		return nil
	}
	return s.failure
}

// Close ends all connections, in order and with a goodbye, and removes a temporary directory. It may be called again.
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
		s.gen.Lock() // not while something is being sealed
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
