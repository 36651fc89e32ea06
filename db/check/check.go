// Package check verifies a data directory: it derives everything in the directory again and reports differences. It
// imports db, because it replays the log as a start does.
package check

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/index"
)

// Options selects the amount of work that Run does.
type Options struct {
	All    bool   // check everything; otherwise a sample
	Sample int    // records and lists in a sample; 0: 10,000. A smaller index is checked whole.
	Seed   uint64 // seed of the sample: the same seed selects the same sample of an unchanged index
	// Progress is called from time to time with the part being checked and the count so far; of is 0 if the total is
	// unknown. Nil: no progress.
	Progress func(what string, done, of int64)
}

// Report is the result of Run.
type Report struct {
	All      bool // everything was checked
	Seed     uint64
	Checked  []Checked // parts that were checked
	Left     []string  // parts that were not checked, with the reason
	Notes    []string  // harmless but unexpected findings
	Problems []Problem // the first maxProblems
	Total    int64     // number of problems
	Kinds    map[string]int64
}

// Checked is the number of checked items of one kind.
type Checked struct {
	What string
	N    int64
	How  string
}

// Problem is one error in the data directory.
type Problem struct {
	Kind string // one of the constants below
	Text string // the error and its location
	Mend string // how to repair it
}

// Kinds of problems.
const (
	KindDatabase = "weft.db"
	KindManifest = "manifest"
	KindSegment  = "segment"
	KindName     = "name"
	KindLog      = "log"
	KindLink     = "link"
	KindCount    = "count"
	KindBody     = "body"
)

// Repairs.
const (
	mendFile      = "restore the file from the replica with weft restore --segments --force"
	mendFileOrLog = mendFile + ", or remove it: the log is complete, and weft serve rebuilds the index from it"
	mendGone      = "restore the file from the replica with weft restore --segments"
	mendGoneOrLog = mendGone + ", or start weft serve: the log is complete, and it rebuilds the segment from it"
	mendDB        = "restore weft.db from its replica with weft restore --force"
	mendBody      = mendDB + "; or delete all bodies with weft serve --bodies off, and store new ones from the next " +
		"start on"
	mendIndex = "restore weft.db and its segments from the replica with weft restore --force; if that fails too, " +
		"re-index into an empty directory"
)

// maxProblems limits the list of problems: more than this have a common cause.
const maxProblems = 20

// defaultSample takes some seconds and finds an error that affects one item in a thousand.
const defaultSample = 10_000

// Run derives everything in a data directory again and reports differences. It reads one moment, also while weft writes
// the directory, and changes nothing. It returns an error if the directory can't be checked.
func Run(ctx context.Context, dir string, o Options) (*Report, error) {
	if o.Sample <= 0 {
		o.Sample = defaultSample
	}
	s, err := db.OpenReadOnly(dir, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	c := &checker{s: s, core: s.Core(), o: o, rand: rand.New(rand.NewPCG(o.Seed, 0)),
		report: &Report{All: o.All, Seed: o.Seed, Kinds: map[string]int64{}}}
	defer c.closeHeld()
	return c.report, c.run(ctx)
}

// checker is the state of one check.
type checker struct {
	s      *db.ReadOnly
	core   *index.Core
	o      Options
	rand   *rand.Rand
	report *Report

	pinned      bool          // weft.db is pinned and held is complete
	held        []heldSegment // files of the manifest, oldest first
	mendFile    string        // repair of a damaged segment
	mendGone    string        // repair of a missing segment
	whole       bool          // all segments are intact and their log rows have no gap
	actors      uint64        // newest id of each kind of name
	collections uint64
	sources     map[uint64]uint64 // collection of each source, by source id

	bodiesOn   bool
	bodiesFrom uint64 // current bodies exist for log rows after this one
	current    int64  // number of current bodies met so far
	refs       []bodyRef

	// decoded links of large records, by record key: each of their links reads all of them
	large      map[string][]codec.RecordLink
	largeBytes int

	steps        int64 // of the current part
	lastProgress time.Time
}

func (c *checker) run(ctx context.Context) error {
	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"the manifest", c.hold},
		{"weft.db", c.database},
		{"the checksums", c.checksums},
		{"the segments", c.segments},
		{"the log", c.log},
		{"the names", c.names},
		{"the bodies", c.bodies},
		{"the index", c.index},
	} {
		c.steps = 0
		if err := part.do(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if disk.IsFull(err) {
				return fmt.Errorf("db: check %s: the disk of %s or of the temporary files (%s) is full, which is no "+
					"fault of the "+
					"data: free space and check again: %w",
					part.name, c.core.Dir, os.TempDir(), err)
			}
			// An unreadable file is damage. The parts that don't need it are checked.
			c.found(KindDatabase, "restore the named file from the replica, and check again", "%s: %v", part.name, err)
			c.report.Left = append(c.report.Left, "the rest of "+part.name)
		}
	}
	return nil
}

// found reports a problem. It formats the arguments only for the first maxProblems, so that they may look up names.
func (c *checker) found(kind, mend, format string, args ...any) {
	c.report.Total++
	c.report.Kinds[kind]++
	if len(c.report.Problems) < maxProblems {
		c.report.Problems = append(c.report.Problems, Problem{kind, fmt.Sprintf(format, args...), mend})
	}
}

// checked records the number of checked items in the report.
func (c *checker) checked(what string, n int64, how string) {
	c.report.Checked = append(c.report.Checked, Checked{what, n, how})
}

// step counts one checked item and from time to time reports progress.
func (c *checker) step(ctx context.Context, what string, of int64) error {
	c.steps++
	if c.steps%1024 != 0 {
		return nil
	}
	if now := time.Now(); c.o.Progress != nil && now.Sub(c.lastProgress) >= time.Second {
		c.lastProgress = now
		c.o.Progress(what, c.steps, of)
	}
	return ctx.Err()
}

// begin reports the next part.
func (c *checker) begin(what string) {
	c.steps = 0
	if c.o.Progress != nil {
		c.lastProgress = time.Now()
		c.o.Progress(what, 0, 0)
	}
}
